"""The HTTP server alongside a Runner: the callback is answered, everything else forwarded."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from logging import WARNING, LogRecord, getLogger
from typing import cast

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler, Middleware
from aiohttp.web_protocol import RequestHandler
from msgspec import Struct

from runner_bridge.callback import CallbackHandler
from runner_bridge.callback_path import TargetKind, read_target
from runner_bridge.passthrough import (
    Passthrough,
    drop_added_headers,
    failure,
    platform_session,
)

log = getLogger(__name__)
http_log = getLogger(f"{__name__}.http")


class SidecarLimits(Struct, frozen=True, kw_only=True):
    """What callers may take, in seconds and connections.

    ``header_timeout_s`` is for a request's headers, and for a connection without a request;
    ``body_timeout_s`` for the body of a callback, and for a pause in any other body. Of more than
    ``max_connections`` the oldest that has no complete headers is closed.
    """

    header_timeout_s: float = 30.0
    body_timeout_s: float = 30.0
    lingering_s: float = 2.0
    max_connections: int = 512


class Connections:
    """Bounds the connections of a server; ``busy`` are those that a request is handled on."""

    def __init__(self, server: web.Server, busy: set[RequestHandler], max_connections: int) -> None:
        self._server = server
        self._busy = busy
        self._max_connections = max_connections

    def accept(self) -> asyncio.Protocol:
        """Return the protocol of a new connection, closing the oldest idle one if needed."""
        connections = [c for c in self._server.connections if c.transport is not None]
        if len(connections) < self._max_connections:
            return self._server()
        idle = next((c for c in connections if c not in self._busy), None)
        if idle is None:
            log.warning("connection refused: all %d are in use", self._max_connections)
            return _RefusedConnection()
        idle.force_close()
        return self._server()


class _RefusedConnection(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


@asynccontextmanager
async def serving(
    callback: CallbackHandler,
    platform_url: str | None,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    limits: SidecarLimits = SidecarLimits(),  # noqa: B008 - frozen
) -> AsyncIterator[str]:
    """Serve within the context, on any free port where it is 0; yield the base URL.

    Raises:
        OSError: the address cannot be used.
    """
    busy: set[RequestHandler] = set()
    async with AsyncExitStack() as stack:
        passthrough = None
        if platform_url:
            session = await stack.enter_async_context(platform_session())
            passthrough = Passthrough(session, platform_url, limits.body_timeout_s)
        # Without routes: a router would decode the path before anyone has looked at it.
        application = web.Application(middlewares=[_dispatcher(callback, passthrough, busy)])
        application.on_response_prepare.append(drop_added_headers)
        runner = web.AppRunner(
            application,
            access_log=None,
            logger=http_log,
            auto_decompress=False,
            keepalive_timeout=limits.header_timeout_s,
            lingering_time=limits.lingering_s,
        )
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        connections = Connections(cast("web.Server", runner.server), busy, limits.max_connections)
        listener = await asyncio.get_running_loop().create_server(connections.accept, host, port)
        stack.callback(listener.close)
        address, bound_port = listener.sockets[0].getsockname()[:2]
        yield f"http://{address}:{bound_port}"


def _dispatcher(
    callback: CallbackHandler, passthrough: Passthrough | None, busy: set[RequestHandler]
) -> Middleware:
    @web.middleware
    async def dispatch(
        request: web.Request,
        handler: Handler,  # noqa: ARG001 - the library's 404
    ) -> web.StreamResponse:
        busy.add(request.protocol)
        try:
            return await _answer(request, callback, passthrough)
        except Exception:  # the edge: whatever it is, the caller gets an answer
            log.exception("unexpected error while answering a callback")
            return failure(500, "Bridge failed")
        finally:
            busy.discard(request.protocol)

    return dispatch


async def _answer(
    request: web.Request, callback: CallbackHandler, passthrough: Passthrough | None
) -> web.StreamResponse:
    if request.method == "CONNECT":
        return failure(405, "CONNECT is not supported")
    target = read_target(request.raw_path)
    if target.kind is TargetKind.UNUSABLE:
        return failure(400, "Request target is not supported")
    if target.kind is TargetKind.CALLBACK:
        return await callback.handle(request, target.install)
    if target.kind is TargetKind.NEAR_MISS or passthrough is None:
        return failure(404, "Not found")
    return await passthrough.forward(request, target.path)


def _drop_traceback(record: LogRecord) -> bool:
    # What is sent here is not our fault, and needs no stack of ours to be understood.
    if record.exc_info and isinstance(record.exc_info[1], HttpProcessingError):
        record.exc_info, record.levelno, record.levelname = None, WARNING, "WARNING"
    return True


http_log.addFilter(_drop_traceback)

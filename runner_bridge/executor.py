"""Carries execute requests from the bus to the Runner: verified first, posted untouched.

Every request gets a reply. What goes wrong on this side is an ``ExecuteResponse`` with an
``error``: 4xx where another attempt is pointless, 408 or 5xx where it is not.
"""

import asyncio
import time
from collections.abc import Callable
from logging import getLogger
from uuid import uuid4

import nats.errors
from aiohttp import ClientSession
from msgspec import Struct
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from contracts.context import Claims, ContextRefused, KeySet, Reason, verify
from contracts.encoding import Encoding, MalformedBody, decode, encode
from contracts.execution import ExecuteRequest, ExecuteResponse
from contracts.subjects import (
    CONTENT_TYPE_HEADER,
    CONTEXT_HEADER,
    DEADLINE_HEADER,
    EXECUTE_OP,
    EXECUTE_SUBJECT,
    IDEMPOTENCY_HEADER,
    REQUEST_ID_HEADER,
    RUNNER_AUDIENCE,
    RUNNER_QUEUE,
)
from contracts.tracing import trace_headers
from runner_bridge.runner import Posted, RunnerFailed, post_execution

log = getLogger(__name__)

# Reached only when the event loop is blocked: a callback never waits for the Runner.
PENDING_MESSAGES = 4096
PENDING_BYTES = 64 * 1024 * 1024
LONGEST_TIMEOUT_MS = 600_000

Verifying = Callable[[], KeySet]
"""Gives the keys to verify with, asked at each request, so that keys can be rotated meanwhile."""


class ExecutorSettings(Struct, frozen=True, kw_only=True):
    """Where the Runner is and how much it gets at once; seconds.

    ``runner_url`` has no path of an operation: ``/v1/execute`` is added. ``margin`` is what the
    HTTP call may take beyond the request's own ``timeout_ms``; the worker waits longer still.
    """

    runner_url: str
    concurrency: int = 64
    waiting: int = 1024
    margin: float = 3.0
    drain_patience: float = 35.0
    reply_prefixes: tuple[str, ...] = ("_INBOX", "_R_.")


class Executor:
    """Answers ``ext.runner.execute`` on one connection; ``start`` it once, ``stop`` it once.

    Connection and session stay their opener's to close.
    """

    def __init__(
        self,
        connection: Client,
        session: ClientSession,
        keys: Verifying,
        settings: ExecutorSettings,
    ) -> None:
        self._connection = connection
        self._session = session
        self._keys = keys
        self._settings = settings
        self._slots = asyncio.Semaphore(settings.concurrency)
        self._tasks: set[asyncio.Task[None]] = set()
        self._subscription: Subscription | None = None

    @property
    def in_hand(self) -> int:
        """Requests taken and not yet answered."""
        return len(self._tasks)

    async def start(self) -> None:
        """Subscribe, and return when the server knows it."""
        self._subscription = await self._connection.subscribe(
            EXECUTE_SUBJECT,
            queue=RUNNER_QUEUE,
            cb=self._receive,
            pending_msgs_limit=PENDING_MESSAGES,
            pending_bytes_limit=PENDING_BYTES,
        )
        await self._connection.flush()

    async def stop(self) -> None:
        """Take no more, answer everything taken, flush; what takes too long is answered as well."""
        if self._subscription is not None and not self._connection.is_closed:
            try:
                await self._subscription.drain()  # type: ignore[no-untyped-call] # the library's
            except (nats.errors.Error, OSError) as error:
                log.warning("execute subscription not drained: %r", error)
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=self._settings.drain_patience)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        if self._connection.is_connected:
            await self._settle()

    async def _settle(self) -> None:
        try:
            await self._connection.flush(timeout=2)
        except (nats.errors.Error, OSError) as error:
            log.warning("last execute replies perhaps not sent: %r", error)

    async def _receive(self, message: Msg) -> None:
        if not message.reply.startswith(self._settings.reply_prefixes):
            log.warning("execute request dropped: no reply can go to %r", message.reply)
            return
        if len(self._tasks) >= self._settings.concurrency + self._settings.waiting:
            await self._reply(message, None, failure(503, "Bridge is busy"))
            return
        task = asyncio.create_task(self._answer(message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, message: Msg) -> None:
        """The outer edge: whatever happens inside, there is a reply."""
        claims: Claims | None = None
        try:
            async with self._slots:
                claims = self._verified(message)
                body = await self._executed(message, claims)
        except asyncio.CancelledError:
            await self._reply(message, claims, failure(503, "Bridge is stopping"))
            raise
        except ContextRefused as refused:
            log.warning("execute request refused: %s", refused.reason)
            # Expired is also what a caller is who gave up: another attempt has a fresh token.
            status = 408 if refused.reason is Reason.EXPIRED else 401
            body = failure(status, "Execute request is not authorized")
        except RunnerFailed as failed:
            body = failure(failed.status, str(failed))
        except Exception:
            log.exception("fault while executing")
            body = failure(500, "Bridge failed")
        await self._reply(message, claims, body)

    def _verified(self, message: Msg) -> Claims:
        return verify(
            (message.headers or {}).get(CONTEXT_HEADER),
            self._keys(),
            audience=RUNNER_AUDIENCE,
            op=EXECUTE_OP,
            body=message.data,
            now=time.time(),
        )

    async def _executed(self, message: Msg, claims: Claims) -> bytes:
        """Post what is verified.

        Raises:
            RunnerFailed: there is no answer of the Runner to pass on.
        """
        headers = message.headers or {}
        if gave_up(headers.get(DEADLINE_HEADER), claims, time.time()):
            raise RunnerFailed(408, "Caller gave up before the Runner was called")
        try:
            request = decode(message.data, ExecuteRequest, Encoding.JSON)
        except MalformedBody as malformed:
            raise RunnerFailed(400, f"Execute request: {malformed}") from None
        if not 0 < request.limits.timeout_ms <= LONGEST_TIMEOUT_MS:
            raise RunnerFailed(400, "Execute request: timeout_ms is out of range")
        call = Posted(
            url=f"{self._settings.runner_url.rstrip('/')}/v1/execute",
            body=message.data,
            headers=runner_headers(request, headers, str(claims.jti)),
            timeout=request.limits.timeout_ms / 1000 + self._settings.margin,
        )
        return await post_execution(self._session, call)

    async def _reply(self, message: Msg, claims: Claims | None, body: bytes) -> None:
        request_id = str(uuid4() if claims is None else claims.jti)
        headers = {
            CONTENT_TYPE_HEADER: Encoding.JSON.value,
            REQUEST_ID_HEADER: request_id,
        }
        try:
            await self._connection.publish(message.reply, body, headers=headers)
        except (nats.errors.Error, OSError) as error:
            log.warning("execute reply not sent: %r", error, extra={"request_id": request_id})


def gave_up(deadline: str | None, claims: Claims, now: float) -> bool:
    """Whether nobody waits any more: ``deadline`` in decimal Unix ms, ``now`` in Unix seconds.

    The leeway for clocks that differ does not count here: what is verified may still be too late.
    """
    if claims.exp <= now:
        return True
    if deadline is None or len(deadline) > 16 or not (deadline.isascii() and deadline.isdigit()):
        return False
    return int(deadline) <= now * 1000


def runner_headers(
    request: ExecuteRequest, headers: dict[str, str], request_id: str
) -> dict[str, str]:
    """Give the headers of the post.

    Raises:
        RunnerFailed: one of them cannot stand in an HTTP header. What is not ASCII goes as UTF-8.
    """
    given = {
        "content-type": Encoding.JSON.value,
        "x-request-id": request_id,
        "x-idempotency-key": headers.get(IDEMPOTENCY_HEADER, request_id),
        "x-alga-tenant": request.context.tenant_id,
        "x-alga-extension": request.context.extension_id,
        **trace_headers(headers),
    }
    for name, value in given.items():
        if not value.isprintable():
            raise RunnerFailed(400, f"Execute request: {name} cannot stand in a header")
    return given


def failure(status: int, error: str) -> bytes:
    """Write the reply for a request that the Runner did not answer."""
    return encode(ExecuteResponse(status=status, error=error), Encoding.JSON)

"""The development Runner's HTTP edge: ``POST /v1/execute`` and ``GET /healthz``.

An execution that took place is answered 200, also when the guest failed; the guest's own status is
in the document. Any other response has its status in both places. As the platform's Runner it
remembers what took place by the request's ``x-idempotency-key``, and answers that key the same.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
from aiohttp import web
from msgspec import Struct

from contracts.execution import ExecuteRequest, ExecuteResponse
from runner_bridge.dev_runner.components import COMPILE_TIMEOUT_S, Components
from runner_bridge.dev_runner.execution import Executions, NotExecuted
from runner_bridge.dev_runner.hints import Suggest, no_suggestion
from runner_bridge.dev_runner.host import Host, SchedulerFor
from runner_bridge.dev_runner.memory import AnswerMemory
from runner_bridge.dev_runner.sandbox import Sandboxes
from runner_bridge.dev_runner.storage import MemoryStorage
from runner_bridge.dev_runner.storage_journal import StorageJournal

log = logging.getLogger(__name__)

MAX_REQUEST_BYTES = 1024 * 1024
STOP_TIMEOUT_S = 35.0
# Headers of the call to the Runner that are forwarded to its guest.
FORWARDED_HEADERS = ("x-request-id", "traceparent")
IDEMPOTENCY_KEY_HEADER = "x-idempotency-key"

HttpHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class RunnerSettings(Struct, frozen=True, kw_only=True):
    """Where to listen (port 0: any free one), what to run, and within which limits.

    ``components`` has files ``<sha256>.wasm``, ``bundles`` files ``*.tar.zst``; ``storage`` is
    the file that keeps what extensions store, by default nothing does.
    """

    components: Path | None
    cache: Path
    bundles: Path | None = None
    storage: Path | None = None
    host: str = "127.0.0.1"
    port: int = 0
    concurrency: int = 4
    max_waiting: int = 64
    compile_timeout_s: float = COMPILE_TIMEOUT_S
    memory_bytes: int = 256 * 1024 * 1024


async def serve(
    settings: RunnerSettings,
    scheduler_for: SchedulerFor,
    *,
    stop: asyncio.Event,
    ready: Callable[[str], None],
) -> None:
    """Serve until ``stop`` is set, then let the executions in flight end.

    ``ready`` is called with the base URL once the Runner listens, all components compiled.
    """
    async with running(settings, scheduler_for) as url:
        ready(url)
        await stop.wait()


@asynccontextmanager
async def running(
    settings: RunnerSettings, scheduler_for: SchedulerFor, suggest: Suggest = no_suggestion
) -> AsyncIterator[str]:
    """Run the server within the context; yield its base URL."""
    components = Components(
        settings.components, settings.cache, settings.bundles, settings.compile_timeout_s
    )
    sandboxes = Sandboxes(settings.concurrency, settings.max_waiting, settings.memory_bytes)

    def sources_of(name: str) -> dict[str, str]:
        sources = components.sources(name)
        return {} if sources is None else sources.modules

    journal = None if settings.storage is None else StorageJournal(settings.storage)
    host = Host(scheduler_for, MemoryStorage(journal), sources_of, suggest)
    executions = Executions(components, sandboxes, host, settings.memory_bytes)
    runner = web.AppRunner(
        application(executions), shutdown_timeout=STOP_TIMEOUT_S, access_log=None
    )
    try:
        await components.compile_all()
        await runner.setup()
        await web.TCPSite(runner, settings.host, settings.port).start()
        host_name, port = runner.addresses[0][:2]
        yield f"http://{host_name}:{port}"
    finally:
        await runner.cleanup()
        await components.close()
        await sandboxes.close()


def application(executions: Executions) -> web.Application:
    """Return the application with its routes."""
    memory = AnswerMemory()

    async def execute(request: web.Request) -> web.Response:
        try:
            document = msgspec.json.decode(await request.read(), type=ExecuteRequest)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise NotExecuted(400, f"malformed_request: {error}") from None
        key = request.headers.get(IDEMPOTENCY_KEY_HEADER)
        known = memory.get(key)
        if known is not None:
            log.info("answered from memory", extra={"fields": {"idempotency_key": key}})
            return _json(known, 200)
        forwarded = {
            name: request.headers[name] for name in FORWARDED_HEADERS if name in request.headers
        }
        response = await executions.execute(document, forwarded)
        memory.keep(key, response)
        _log_execution(document, response)
        return _json(response, 200)

    app = web.Application(client_max_size=MAX_REQUEST_BYTES, middlewares=[_answer_errors])
    app.router.add_post("/v1/execute", execute)
    app.router.add_get("/healthz", _healthz)
    return app


def _log_execution(document: ExecuteRequest, response: ExecuteResponse) -> None:
    fields = {
        "tenant": document.context.tenant_id,
        "extension": document.context.extension_id,
        "request_id": document.context.request_id,
        "method": document.http.method,
        "path": document.http.path,
        "status": response.status,
    }
    if response.error is not None:
        fields["error"] = response.error
    log.info("executed", extra={"fields": fields})


async def _healthz(_: web.Request) -> web.Response:
    return web.json_response({"status": "ok"})


@web.middleware
async def _answer_errors(request: web.Request, handler: HttpHandler) -> web.StreamResponse:
    try:
        return await handler(request)
    except NotExecuted as error:
        return _failure(error.status, error.error)
    except web.HTTPException as error:
        return _failure(error.status, f"http_error: {error.reason}")
    except Exception:  # the edge: whatever it is, the caller gets an answer
        log.exception("request failed")
        return _failure(500, "internal: the Runner failed")


def _failure(status: int, error: str) -> web.Response:
    return _json(ExecuteResponse(status=status, error=error), status)


def _json(response: ExecuteResponse, status: int) -> web.Response:
    body = msgspec.json.encode(response)
    return web.Response(body=body, status=status, content_type="application/json")

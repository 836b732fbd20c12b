"""Forwards execute requests from the bus to the Runner: verified first, posted unchanged.

Every request gets a reply. A failure on this side is an ``ExecuteResponse`` with an ``error``: 4xx
where a retry is pointless, 408 or 5xx where it is not.
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
from contracts.deadline import deadline_passed
from contracts.encoding import Encoding, MalformedBody, decode, encode
from contracts.execution import ExecuteRequest, ExecuteResponse, given
from contracts.shared.cancellation import cancel_and_wait
from contracts.subjects import (
    CONTENT_TYPE_HEADER,
    CONTEXT_HEADER,
    DEADLINE_HEADER,
    EXECUTE_OP,
    IDEMPOTENCY_HEADER,
    REQUEST_ID_HEADER,
    RUNNER_AUDIENCE,
    RUNNER_QUEUE,
    execute_subject,
)
from contracts.tracing import trace_headers
from runner_bridge.runner import RunnerFailed, RunnerRequest, post_execution

log = getLogger(__name__)

# Reached only when the event loop is blocked: a callback never waits for the Runner.
PENDING_MESSAGES = 4096
PENDING_BYTES = 64 * 1024 * 1024
MAX_TIMEOUT_MS = 600_000

KeyProvider = Callable[[], KeySet]
"""Returns the keys to verify with; called for each request, so that keys can be rotated."""


class ExecutorSettings(Struct, frozen=True, kw_only=True):
    """Where the Runner is, how many executions it gets at once, and timeouts in seconds.

    ``runner_url`` is the base URL: ``/v1/execute`` is added. At most ``concurrency`` executions are
    in flight and ``max_waiting`` wait. ``margin_s`` is what the HTTP call may take beyond the
    request's own ``timeout_ms``; the worker waits longer still. ``pool`` is the Runner pool that is
    answered for, None for the default one.
    """

    runner_url: str
    pool: str | None = None
    concurrency: int = 64
    max_waiting: int = 1024
    margin_s: float = 3.0
    drain_timeout_s: float = 35.0
    reply_prefixes: tuple[str, ...] = ("_INBOX", "_R_.")


class Executor:
    """Answers execute requests on one connection; ``start`` it once, ``stop`` it once.

    The caller closes the connection and the session.
    """

    def __init__(
        self,
        connection: Client,
        session: ClientSession,
        keys: KeyProvider,
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
    def in_flight(self) -> int:
        """Return the number of requests received and not yet answered."""
        return len(self._tasks)

    async def start(self) -> None:
        """Subscribe; return when the server has confirmed it."""
        self._subscription = await self._connection.subscribe(
            execute_subject(self._settings.pool),
            queue=RUNNER_QUEUE,
            cb=self._receive,
            pending_msgs_limit=PENDING_MESSAGES,
            pending_bytes_limit=PENDING_BYTES,
        )
        await self._connection.flush()

    async def stop(self) -> None:
        """Unsubscribe, answer every request received, flush; cancel what outlasts the timeout."""
        if self._subscription is not None and not self._connection.is_closed:
            try:
                await self._subscription.drain()  # type: ignore[no-untyped-call]  # the library's
            except (nats.errors.Error, OSError) as error:
                log.warning("failed to drain the execute subscription: %r", error)
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=self._settings.drain_timeout_s)
            await cancel_and_wait(late)
        if self._connection.is_connected:
            await self._flush()

    async def _flush(self) -> None:
        try:
            await self._connection.flush(timeout=2)
        except (nats.errors.Error, OSError) as error:
            log.warning("failed to flush execute replies: %r", error)

    async def _receive(self, message: Msg) -> None:
        if not message.reply.startswith(self._settings.reply_prefixes):
            log.warning("execute request dropped: reply subject %r is not allowed", message.reply)
            return
        if len(self._tasks) >= self._settings.concurrency + self._settings.max_waiting:
            await self._reply(message, None, failure(503, "Bridge is busy"))
            return
        task = asyncio.create_task(self._answer(message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, message: Msg) -> None:
        """Reply to a request, also where carrying it out fails in an unforeseen way."""
        claims: Claims | None = None
        try:
            async with self._slots:
                claims = self._verify(message)
                body = await self._execute(message, claims)
        except asyncio.CancelledError:
            await self._reply(message, claims, failure(503, "Bridge is stopping"))
            raise
        except ContextRefused as refused:
            log.warning("execute request refused: %s", refused.reason)
            # A token also expires when its caller has timed out: a retry has a fresh one.
            status = 408 if refused.reason is Reason.EXPIRED else 401
            body = failure(status, "Execute request is not authorized")
        except RunnerFailed as failed:
            body = failure(failed.status, str(failed))
        except Exception:
            log.exception("unexpected error while executing")
            body = failure(500, "Bridge failed")
        await self._reply(message, claims, body)

    def _verify(self, message: Msg) -> Claims:
        return verify(
            (message.headers or {}).get(CONTEXT_HEADER),
            self._keys(),
            audience=RUNNER_AUDIENCE,
            op=EXECUTE_OP,
            body=message.data,
            now=time.time(),
        )

    async def _execute(self, message: Msg, claims: Claims) -> bytes:
        """Post a verified request and return the Runner's response.

        Raises:
            RunnerFailed: there is no response to forward.
        """
        headers = message.headers or {}
        now = time.time()
        # Without the leeway for clocks that differ: what is verified may still be too late.
        if claims.exp <= now or deadline_passed(headers.get(DEADLINE_HEADER), now):
            raise RunnerFailed(408, "Caller gave up before the Runner was called")
        try:
            request = decode(message.data, ExecuteRequest, Encoding.JSON)
        except MalformedBody as malformed:
            raise RunnerFailed(400, f"Execute request: {malformed}") from None
        if not 0 < request.limits.timeout_ms <= MAX_TIMEOUT_MS:
            raise RunnerFailed(400, "Execute request: timeout_ms is out of range")
        call = RunnerRequest(
            url=f"{self._settings.runner_url.rstrip('/')}/v1/execute",
            body=message.data,
            headers=runner_headers(request, headers, str(claims.jti)),
            timeout_s=request.limits.timeout_ms / 1000 + self._settings.margin_s,
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
            log.warning("failed to send execute reply: %r", error, extra={"request_id": request_id})


def runner_headers(
    request: ExecuteRequest, headers: dict[str, str], request_id: str
) -> dict[str, str]:
    """Return the headers of the HTTP request.

    Raises:
        RunnerFailed: a value is not allowed in an HTTP header. What is not ASCII goes as UTF-8.
    """
    posted = {
        "content-type": Encoding.JSON.value,
        "x-request-id": request_id,
        "x-idempotency-key": _attempt_key(request, headers, request_id),
        "x-alga-tenant": request.context.tenant_id,
        "x-alga-extension": request.context.extension_id,
        **trace_headers(headers),
    }
    for name, value in posted.items():
        if not value.isprintable():
            raise RunnerFailed(400, f"Execute request: {name} cannot stand in a header")
    return posted


def _attempt_key(request: ExecuteRequest, headers: dict[str, str], request_id: str) -> str:
    """Return the key by which a Runner remembers its answer, a failure included.

    It names the attempt, so that a further attempt reaches the extension, and a message that is
    delivered twice does not. The extension's own key is in the document.
    """
    occurrence, attempt = headers.get(IDEMPOTENCY_HEADER), given(request.context.attempt)
    if occurrence is None:
        return request_id
    return occurrence if attempt is None else f"{occurrence}:{attempt}"


def failure(status: int, error: str) -> bytes:
    """Return the reply for a request that the Runner did not answer."""
    return encode(ExecuteResponse(status=status, error=error), Encoding.JSON)

"""Bytes in, bytes out: verify, decode, run, map errors, count, log. Knows no NATS."""

import time
from collections.abc import Awaitable, Callable, Hashable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from logging import getLogger
from typing import Any
from uuid import UUID, uuid4

from msgspec import Struct, field

from contracts import encoding
from contracts.context import (
    Claims,
    ContextRefused,
    Reason,
    UncheckedToken,
    accept,
    form_fault,
    read_token,
)
from contracts.encoding import MAX_BODY_BYTES, Encoding, MalformedBody, UnknownContentType
from contracts.errors import NUMBERS, Code, ErrorBody, Outcome, ServiceError
from contracts.subjects import (
    CONTENT_TYPE_HEADER,
    CONTEXT_HEADER,
    REQUEST_ID_HEADER,
    TRACE_HEADER,
)
from contracts.tracing import trace_id
from service.flow_control.keyed_limiter import PerKeyLimiter
from service.messages import KeySource, Reply, Request
from service.operations import OPERATIONS
from service.operations.context import Answer, OperationSpec
from service.requests.batcher import PendingRequest, RequestBatcher
from service.runtime.line_sampler import LineSampler
from service.runtime.logs import fields, log_info
from service.runtime.metrics import Metrics
from service.storage.engine.errors import is_unavailable

log = getLogger(__name__)

NOT_AUTHORIZED = "Request is not authorized"
NOT_NOW = "The service cannot answer now; send the same request again"
FAULT = "Internal error"
BODY_TOO_LARGE = f"Body is larger than {MAX_BODY_BYTES} bytes"

READ_WEIGHT, CHANGE_WEIGHT = 1, 2
"""For how long a request keeps this process busy, besides its signature."""

_WITH_CODE = (ErrorBody, Outcome)


def _noop() -> None:
    """Do nothing: no part waits for committed changes."""


def _stay(_size: int) -> AbstractContextManager[None]:
    """Keep the place of a request that waits for its turn: there is no queue behind it."""
    return nullcontext()


async def _check_here(token: UncheckedToken, _weight: int) -> bool:
    return token.is_signed()


class _Ending(Struct, frozen=True):
    """How a request ended.

    ``failed``: something kept the operation from answering it; ``reason`` is why a token was
    refused, or its bearer denied. No exception is kept here: one in a local of a frame that it
    passed is a reference cycle, which holds the request with its body until the next garbage
    collection.
    """

    code: str | None
    failed: bool
    reason: str | None
    log_fields: Mapping[str, str]
    duration_s: float

    @property
    def status(self) -> str:
        if self.code is None:
            return "ok"
        return "failed" if self.failed else "refused"


class Dispatcher(Struct, frozen=True, kw_only=True):
    """Answers requests. ``on_committed`` is called after every accepted change.

    ``step_aside`` takes the size of a request in bytes, and gives its place in the work queue to
    another while it waits for its turn. ``is_signed`` says what the token's own method would; it
    takes the weight of the request, too.
    """

    keys: KeySource
    metrics: Metrics
    limiter: PerKeyLimiter
    batcher: RequestBatcher
    is_signed: Callable[[UncheckedToken, int], Awaitable[bool]] = _check_here
    step_aside: Callable[[int], AbstractContextManager[None]] = _stay
    on_committed: Callable[[], None] = _noop
    unverified_lines: LineSampler = field(default_factory=partial(LineSampler, log, "request"))
    outage_lines: LineSampler = field(
        default_factory=partial(LineSampler, log, "database not available")
    )

    async def handle(self, request: Request) -> Reply:
        """Answer a request; raise nothing but cancellation."""
        began = time.perf_counter()
        claims = None
        reason: str | None = None
        failed = True
        log_fields: Mapping[str, str] = {}
        try:
            operation = OPERATIONS[request.audience][request.op]
            claims = await self._verify(request, _weight(operation))
            pending = PendingRequest(request, claims, _read(request), operation)
            if operation.mutates:
                step_aside = partial(self.step_aside, len(request.body))
                async with self.limiter.turn(_turn_key(pending), step_aside):
                    result = await self.batcher.answer(pending)
            else:
                result = await self.batcher.answer(pending)
            log_fields = result.log_fields
            if isinstance(result.outcome, Exception):
                answer: Answer = self._explain(result.outcome, request, claims)
            else:
                answer, failed = result.outcome, False
                if operation.mutates and _code(answer) is None:
                    self.on_committed()
        except Exception as error:  # noqa: BLE001 - the edge: whatever happened, there is an answer
            failed, reason = True, error.reason if isinstance(error, ContextRefused) else None
            answer = self._explain(error, request, claims)
        duration_s = time.perf_counter() - began
        reason = reason or _denial(answer)
        self._account(
            request, claims, _Ending(_code(answer), failed, reason, log_fields, duration_s)
        )
        request_id = uuid4() if claims is None else claims.jti
        return _reply(answer, request, str(request_id), failed=failed)

    def screen(self, request: Request) -> Reply | None:
        """Return the refusal of what is too large, or bears nothing like a token; else None.

        Called on arrival: such a request must neither wait, nor be hashed or decoded.
        """
        began = time.perf_counter()
        reason = None
        if len(request.body) > MAX_BODY_BYTES:
            answer = ErrorBody(code=Code.VALIDATION_FAILED, error=BODY_TOO_LARGE)
        else:
            reason = form_fault(request.headers.get(CONTEXT_HEADER))
            if reason is None:
                return None
            answer = self._unauthorized(reason)
        duration_s = time.perf_counter() - began
        self._account(request, None, _Ending(answer.code.value, True, reason, {}, duration_s))
        return _reply(answer, request, str(uuid4()), failed=True)

    def refuse(self, request: Request, code: Code, message: str) -> Reply:
        """Answer a request without running it; cheap, for times of overload."""
        self.metrics.api_calls.labels(request.op, "failed").inc()
        self.metrics.api_errors.labels(request.op, code.value).inc()
        answer = ErrorBody(code=code, error=message)
        return _reply(answer, request, str(uuid4()), failed=True)

    async def _verify(self, request: Request, weight: int) -> Claims:
        token = read_token(request.headers.get(CONTEXT_HEADER), self.keys.current())
        return accept(
            token,
            signed=await self.is_signed(token, weight),
            audience=request.audience,
            op=request.op,
            body=request.body,
            now=request.received,
        )

    def _explain(self, error: Exception, request: Request, claims: Claims | None) -> ErrorBody:
        """Return the answer for an exception, count and log it, and release what it holds."""
        try:
            return self._explanation(error, request, claims)
        finally:
            release_frames(error)

    def _explanation(self, error: Exception, request: Request, claims: Claims | None) -> ErrorBody:
        if isinstance(error, ServiceError):
            return error.body()
        if isinstance(error, ContextRefused):
            return self._unauthorized(error.reason)
        if isinstance(error, UnknownContentType | MalformedBody):
            return ErrorBody(code=Code.VALIDATION_FAILED, error=str(error))
        context = fields(operation=request.op, request_id=claims and str(claims.jti))
        if is_unavailable(error):
            if self.outage_lines.admits(type(error).__name__):
                log.warning("database not available: %r", error, extra=context)
            return ErrorBody(code=Code.UNAVAILABLE, error=NOT_NOW)
        log.error("fault while answering", exc_info=error, extra=context)
        return ErrorBody(code=Code.INTERNAL, error=FAULT)

    def _unauthorized(self, reason: Reason) -> ErrorBody:
        self.metrics.auth_failures.labels(reason.value).inc()
        return ErrorBody(code=Code.UNAUTHORIZED, error=NOT_AUTHORIZED)

    def _account(self, request: Request, claims: Claims | None, ending: _Ending) -> None:
        op, status = request.op, ending.status
        self.metrics.record_request(op, status, ending.code, ending.duration_s)
        if claims is None and not self.unverified_lines.admits(ending.reason or ending.code or ""):
            return
        caller: dict[str, Any] = {
            "tenant": claims and claims.tenant_id,
            "install": claims and claims.install_id,
            "actor": claims and claims.sub,
            **ending.log_fields,
        }
        log_info(
            log,
            "request",
            operation=op,
            outcome=status,
            code=ending.code,
            reason=ending.reason,
            **caller,
            request_id=claims and claims.jti,
            trace_id=trace_id(request.headers.get(TRACE_HEADER)),
            duration_ms=round(ending.duration_s * 1000, 3),
        )


def _weight(operation: OperationSpec) -> int:
    return CHANGE_WEIGHT if operation.mutates else READ_WEIGHT


def _denial(answer: Answer) -> str | None:
    """Return why a caller was denied; None for any other answer."""
    if isinstance(answer, ErrorBody) and answer.code is Code.DENIED:
        return answer.error
    return None


def release_frames(error: BaseException) -> None:
    """Take the tracebacks off an exception that was dealt with, and off those it came from.

    A traceback holds the frames that the exception passed, and with them the request. Where one of
    those frames holds the exception, as libraries' frames and futures do, that is a cycle, freed
    with the next garbage collection only: refusals could fill the memory.
    """
    chain: list[BaseException | None] = [error]
    seen: set[int] = set()
    while chain:
        link = chain.pop()
        if link is not None and id(link) not in seen:
            seen.add(id(link))
            link.__traceback__ = None
            chain += (link.__cause__, link.__context__)


def _turn_key(pending: PendingRequest) -> Hashable:
    """Return what a change waits its turn for: its install, else its own repeats.

    The body of an administrator suffices for that: nothing but the waiting depends on it. Its
    tenant belongs to the key, so that naming another's install takes no turn of that tenant's.
    """
    claims = pending.claims
    if claims.install_id is not None:
        return claims.install_id
    try:
        return claims.tenant_id, UUID(pending.raw.get("installId"))
    except (TypeError, ValueError, AttributeError):
        return claims.jti


def _code(answer: Answer) -> str | None:
    """Return why an answer is negative, None where it is not."""
    code = answer.code if isinstance(answer, _WITH_CODE) else None
    return None if code is None else code.value


def _read(request: Request) -> dict[str, Any]:
    negotiated = encoding.negotiate(request.headers.get(CONTENT_TYPE_HEADER))
    return encoding.decode_map(request.body, negotiated)


def _reply(answer: Answer, request: Request, request_id: str, *, failed: bool) -> Reply:
    chosen = _reply_encoding(request.headers)
    error = None
    if failed:
        assert isinstance(answer, ErrorBody)  # noqa: S101 - only _explain answers failures
        error = (NUMBERS[answer.code], answer.error)
    headers = {CONTENT_TYPE_HEADER: chosen.value, REQUEST_ID_HEADER: request_id}
    return Reply(headers, encoding.encode(answer, chosen), error)


def _reply_encoding(headers: Mapping[str, str]) -> Encoding:
    try:
        return encoding.negotiate(headers.get(CONTENT_TYPE_HEADER))
    except UnknownContentType:
        return Encoding.JSON

"""Bytes in, bytes out: verify, decode, run, map errors, count, log. Knows no NATS."""

import time
from collections.abc import Callable, Mapping
from logging import getLogger
from typing import Any
from uuid import UUID, uuid4

from msgspec import Struct

from contracts import encoding
from contracts.context import LEEWAY_S, Claims, ContextRefused, verify
from contracts.deadline import deadline_passed
from contracts.encoding import MAX_BODY_BYTES, Encoding, MalformedBody, UnknownContentType
from contracts.errors import NUMBERS, Code, ErrorBody, Outcome, ServiceError
from contracts.subjects import (
    CONTENT_TYPE_HEADER,
    CONTEXT_HEADER,
    DEADLINE_HEADER,
    REQUEST_ID_HEADER,
    TRACE_HEADER,
)
from contracts.tracing import trace_id
from service.flow_control.keyed_limiter import Turns
from service.messages import KeySource, Reply, Request
from service.operations import HANDLERS
from service.operations.context import Answer, Call, Clock
from service.requests.batcher import Asking, Batches
from service.rules.limits import Limits
from service.runtime.logs import fields, tell
from service.runtime.metrics import Metrics
from service.storage.engine.connection import Connection
from service.storage.engine.errors import is_unavailable

log = getLogger(__name__)

NOT_AUTHORIZED = "Request is not authorized"
NOT_NOW = "The service cannot answer now; send the same request again"
WAITED_TOO_LONG = "The request waited for too long; send it again"
FAULT = "Internal error"

_WITH_CODE = (ErrorBody, Outcome)


def _as_it_is(now: Any) -> Any:  # noqa: ANN401 -- the identity
    return now


def _nothing() -> None:
    """Nobody waits for events."""


class _Ending(Struct, frozen=True):
    """How a request ended; ``fault`` is what kept it from being considered."""

    code: str | None
    fault: Exception | None
    found: Mapping[str, str]
    duration_s: float

    @property
    def status(self) -> str:
        if self.code is None:
            return "ok"
        return "refused" if self.fault is None else "failed"


class Dispatcher(Struct, frozen=True, kw_only=True):
    """What it takes to answer a request. ``committed`` is called after every accepted change."""

    keys: KeySource
    limits: Limits
    declared_is_granted: bool
    metrics: Metrics
    turns: Turns
    batches: Batches
    wall_clock: Callable[[], float] = time.time
    clock: Clock = _as_it_is
    committed: Callable[[], None] = _nothing

    async def handle(self, request: Request) -> Reply:
        """Answer a request; raises nothing but cancellation."""
        began = time.perf_counter()
        claims = None
        fault: Exception | None = None
        found: dict[str, str] = {}
        try:
            claims = self._verify(request)
            answer = await self._run(request, claims, found)
        except Exception as error:  # noqa: BLE001 -- the edge: whatever happened, there is an answer
            fault = error
            answer = self._explain(error, request, claims)
        ending = _Ending(_code(answer), fault, found, time.perf_counter() - began)
        self._account(request, claims, ending)
        request_id = uuid4() if claims is None else claims.jti
        return _reply(answer, request, str(request_id), failed=fault is not None)

    def refuse(self, request: Request, code: Code, message: str) -> Reply:
        """Answer a request without working on it; cheap, for times of overload."""
        self.metrics.api_calls.labels(request.op, "failed").inc()
        self.metrics.api_errors.labels(request.op, code.value).inc()
        answer = ErrorBody(code=code, error=message)
        return _reply(answer, request, str(uuid4()), failed=True)

    def _verify(self, request: Request) -> Claims:
        return verify(
            request.headers.get(CONTEXT_HEADER),
            self.keys.current(),
            audience=request.audience,
            op=request.op,
            body=request.body,
            now=request.received,
        )

    async def _run(self, request: Request, claims: Claims, found: dict[str, str]) -> Answer:
        raw = _read(request)
        handler = HANDLERS[request.audience][request.op]

        def wanted() -> None:
            self._check_wanted(request, claims)

        def call(connection: Connection) -> Call:
            return Call(
                connection=connection,
                output=handler.output,
                claims=claims,
                raw=raw,
                limits=self.limits,
                declared_is_granted=self.declared_is_granted,
                clock=self.clock,
                found=found,
            )

        asking = Asking(claims.install_id or claims.jti, wanted, call)
        if not handler.mutates:
            return await self.batches.answer(handler, asking)
        async with self.turns.turn(_turn(claims, raw), request.aside):
            answer = await self.batches.answer(handler, asking)
        if _code(answer) is None:
            self.committed()
        return answer

    def _check_wanted(self, request: Request, claims: Claims) -> None:
        """Raise ServiceError UNAVAILABLE when the caller gave up while the request waited."""
        now = self.wall_clock()
        if claims.exp + LEEWAY_S <= now or deadline_passed(
            request.headers.get(DEADLINE_HEADER), now
        ):
            raise ServiceError(Code.UNAVAILABLE, WAITED_TOO_LONG)

    def _explain(self, error: Exception, request: Request, claims: Claims | None) -> ErrorBody:
        if isinstance(error, ServiceError):
            return error.body()
        if isinstance(error, ContextRefused):
            self.metrics.auth_failures.labels(error.reason.value).inc()
            return ErrorBody(code=Code.UNAUTHORIZED, error=NOT_AUTHORIZED)
        if isinstance(error, UnknownContentType | MalformedBody):
            return ErrorBody(code=Code.VALIDATION_FAILED, error=str(error))
        context = fields(operation=request.op, request_id=claims and str(claims.jti))
        if is_unavailable(error):
            log.warning("database not available: %r", error, extra=context)
            return ErrorBody(code=Code.UNAVAILABLE, error=NOT_NOW)
        log.error("fault while answering", exc_info=error, extra=context)
        return ErrorBody(code=Code.INTERNAL, error=FAULT)

    def _account(self, request: Request, claims: Claims | None, ending: _Ending) -> None:
        op, status, fault = request.op, ending.status, ending.fault
        self.metrics.answered(op, status, ending.code, ending.duration_s)
        seen: dict[str, Any] = {
            "tenant": claims and claims.tenant_id,
            "install": claims and claims.install_id,
            "actor": claims and claims.sub,
            **ending.found,
        }
        tell(
            log,
            "request",
            operation=op,
            outcome=status,
            code=ending.code,
            reason=fault.reason.value if isinstance(fault, ContextRefused) else None,
            **seen,
            request_id=claims and claims.jti,
            trace_id=trace_id(request.headers.get(TRACE_HEADER)),
            duration_ms=round(ending.duration_s * 1000, 3),
        )


def _turn(claims: Claims, raw: dict[str, Any]) -> UUID:
    """What a change waits its turn for: the install, where one is named, else its own repeats.

    An administrator's body is good enough for that: nothing but the waiting depends on it.
    """
    if claims.install_id is not None:
        return claims.install_id
    try:
        return UUID(raw.get("installId"))
    except (TypeError, ValueError, AttributeError):
        return claims.jti


def _code(answer: Answer) -> str | None:
    """Why an answer is negative, None where it is not."""
    code = answer.code if isinstance(answer, _WITH_CODE) else None
    return None if code is None else code.value


def _read(request: Request) -> dict[str, Any]:
    if len(request.body) > MAX_BODY_BYTES:
        raise MalformedBody(f"Body is larger than {MAX_BODY_BYTES} bytes")
    negotiated = encoding.negotiate(request.headers.get(CONTENT_TYPE_HEADER))
    return encoding.decode_map(request.body, negotiated)


def _reply(answer: Answer, request: Request, request_id: str, *, failed: bool) -> Reply:
    chosen = _reply_encoding(request.headers)
    error = None
    if failed:
        assert isinstance(answer, ErrorBody)  # noqa: S101 -- only _explain answers failures
        error = (NUMBERS[answer.code], answer.error)
    headers = {CONTENT_TYPE_HEADER: chosen.value, REQUEST_ID_HEADER: request_id}
    return Reply(headers, encoding.encode(answer, chosen), error)


def _reply_encoding(headers: Mapping[str, str]) -> Encoding:
    try:
        return encoding.negotiate(headers.get(CONTENT_TYPE_HEADER))
    except UnknownContentType:
        return Encoding.JSON

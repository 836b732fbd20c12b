"""Signed requests over NATS: sign, send, retry where that is safe.

A request has one ``jti`` for its whole life, and each attempt a fresh token with it: the service
makes a change at most once per ``jti``, so a request without a reply may be sent again.
"""

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from logging import getLogger
from typing import TypeVar
from uuid import UUID, uuid4

import msgspec
import nats.errors
from msgspec import Struct
from nats.aio.client import Client
from nats.aio.msg import Msg

from contracts.context import DEFAULT_LIFETIME_S, Claims, Key, body_sha256, sign
from contracts.encoding import (
    MAX_BODY_BYTES,
    Encoding,
    MalformedBody,
    UnknownContentType,
    decode,
    encode,
    negotiate,
)
from contracts.errors import Code, ErrorBody, ServiceError
from contracts.subjects import (
    CONTENT_TYPE_HEADER,
    CONTEXT_HEADER,
    DEADLINE_HEADER,
    ERROR_CODE_HEADER,
    TRACE_HEADER,
)

log = getLogger(__name__)

T = TypeVar("T", bound=Struct)

SigningKeyProvider = Callable[[], Key]
"""Returns the key to sign with; called for each attempt, so that keys can be rotated."""


class RequestSettings(Struct, frozen=True):
    """Timeouts and delays of a request and its retries, in seconds.

    ``attempt_timeout_s`` is above the 5 s for which the service waits for a row lock. The delay
    between attempts doubles from ``first_delay_s`` to ``max_delay_s``, the upper half random.
    """

    encoding: Encoding = Encoding.MSGPACK
    attempt_timeout_s: float = 6.0
    total_timeout_s: float = 15.0
    first_delay_s: float = 0.1
    max_delay_s: float = 2.0


class Principal(Struct, frozen=True, kw_only=True):
    """The caller: the claims of ``contracts.context.Claims`` that all its requests share."""

    audience: str
    install_id: UUID | None = None
    tenant_id: str | None = None
    version_id: str | None = None
    extension_id: str | None = None
    providers: tuple[str, ...] | None = None
    sub: str | None = None
    permissions: tuple[str, ...] | None = None


class _Pending(Struct, frozen=True):
    principal: Principal
    op: str
    body: bytes
    jti: UUID
    traceparent: str | None
    deadline: float


class SignedRequests:
    """Sends requests over one connection, which the caller closes."""

    def __init__(
        self,
        connection: Client,
        key: SigningKeyProvider,
        settings: RequestSettings = RequestSettings(),  # noqa: B008 - frozen
    ) -> None:
        self._connection = connection
        self._key = key
        self._settings = settings

    async def ask(
        self,
        principal: Principal,
        op: str,
        fields: object,
        output: type[T],
        *,
        jti: UUID | None = None,
        traceparent: str | None = None,
    ) -> T:
        """Send a request, and retry until it is answered or ``total_timeout_s`` is over.

        ``fields`` is the input, a Struct or a map; ``jti`` names an earlier request to repeat.
        A domain outcome, also a negative one, is returned as the operation's output.

        Raises:
            ServiceError: the operation was not considered, or a read had no result; with code
                ``UNAVAILABLE`` it may or may not have been done, and can be repeated with the
                ``request_id`` as ``jti``.
        """
        jti = jti or uuid4()
        body = self._encode(fields, jti)
        deadline = time.monotonic() + self._settings.total_timeout_s
        reply = await self._send_with_retries(
            _Pending(principal, op, body, jti, traceparent, deadline)
        )
        return _read_reply(reply, output, jti)

    def _encode(self, fields: object, jti: UUID) -> bytes:
        try:
            body = encode(fields, self._settings.encoding)
        except MalformedBody:
            raise _failure(Code.VALIDATION_FAILED, "Request cannot be encoded", jti) from None
        if len(body) > MAX_BODY_BYTES:
            raise _failure(Code.VALIDATION_FAILED, "Request is too large", jti)
        return body

    async def _send_with_retries(self, pending: _Pending) -> Msg:
        """Return the first reply other than a passing unavailability."""
        failures = 0
        while True:
            try:
                return await self._send_once(pending)
            except ServiceError as error:
                delay_s = self._retry_delay_s(failures, error.retry_after_ms)
                if error.code is not Code.UNAVAILABLE or not self._may_repeat(pending, delay_s):
                    raise
                log.info("retrying: %s", error.message, extra={"request_id": str(pending.jti)})
            failures += 1
            await asyncio.sleep(delay_s)

    def _may_repeat(self, pending: _Pending, delay_s: float) -> bool:
        # An attempt shorter than the first delay would expire before the service could answer.
        next_attempt = time.monotonic() + delay_s + self._settings.first_delay_s
        return not self._connection.is_closed and next_attempt < pending.deadline

    def _retry_delay_s(self, failures: int, retry_after_ms: int | None) -> float:
        settings = self._settings
        delay_s = min(settings.first_delay_s * 2.0 ** min(failures, 16), settings.max_delay_s)
        jittered = delay_s * random.uniform(0.5, 1.0)  # noqa: S311 - jitter needs no secrecy
        return max(jittered, (retry_after_ms or 0) / 1000)

    async def _send_once(self, pending: _Pending) -> Msg:
        """Send the request once and return its reply.

        Raises:
            ServiceError: ``UNAVAILABLE`` where there was no reply, else the code of the service.
        """
        timeout_s = min(self._settings.attempt_timeout_s, pending.deadline - time.monotonic())
        try:
            reply = await self._connection.request(
                f"{pending.principal.audience}.{pending.op}",
                pending.body,
                timeout=timeout_s,
                headers=self._headers(pending, time.time(), timeout_s),
            )
        except nats.errors.NoRespondersError:
            raise _failure(
                Code.UNAVAILABLE, "No scheduler service is running", pending.jti
            ) from None
        except (TimeoutError, nats.errors.Error, OSError) as error:
            log.debug("request failed: %r", error)
            raise _failure(
                Code.UNAVAILABLE, "The scheduler service did not answer", pending.jti
            ) from None
        if reply.headers and ERROR_CODE_HEADER in reply.headers:
            raise _service_error(reply, pending.jti)
        return reply

    def _headers(self, pending: _Pending, now: float, timeout_s: float) -> dict[str, str]:
        """Return the headers of one attempt; ``now`` in Unix seconds."""
        principal = msgspec.structs.asdict(pending.principal)
        key = self._key()
        claims = Claims(
            iss=key.issuer,
            aud=principal.pop("audience"),
            iat=int(now),
            exp=int(now) + DEFAULT_LIFETIME_S,
            jti=pending.jti,
            op=pending.op,
            body_sha256=body_sha256(pending.body),
            **principal,
        )
        trace: Mapping[str, str] = (
            {TRACE_HEADER: pending.traceparent} if pending.traceparent else {}
        )
        return {
            CONTENT_TYPE_HEADER: self._settings.encoding.value,
            CONTEXT_HEADER: sign(claims, key),
            DEADLINE_HEADER: str(int((now + timeout_s) * 1000)),
            **trace,
        }


def _read_reply(reply: Msg, output: type[T], jti: UUID) -> T:
    try:
        return _decode(reply, output)
    except (MalformedBody, UnknownContentType):
        raise _service_error(reply, jti) from None


def _service_error(reply: Msg, jti: UUID) -> ServiceError:
    """Return the error in a reply: of a refusal, or of a read's negative result."""
    try:
        body = _decode(reply, ErrorBody)
    except (MalformedBody, UnknownContentType):
        return _failure(Code.INTERNAL, "The answer of the service cannot be read", jti)
    retry_after_ms = body.retry_after_ms if isinstance(body.retry_after_ms, int) else None
    field_errors = body.field_errors if isinstance(body.field_errors, dict) else None
    return ServiceError(body.code, body.error, retry_after_ms, str(jti), field_errors)


def _decode(reply: Msg, output: type[T]) -> T:
    content_type = (reply.headers or {}).get(CONTENT_TYPE_HEADER)
    return decode(reply.data, output, negotiate(content_type))


def _failure(code: Code, message: str, jti: UUID) -> ServiceError:
    return ServiceError(code, message, request_id=str(jti))

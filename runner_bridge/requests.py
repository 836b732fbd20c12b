"""Signed requests over NATS: sign, send, and send again where that is safe.

A request has one ``jti`` for its whole life, and each attempt a fresh token with it: the service
makes a change at most once per ``jti``, so whatever got no answer may be asked again.
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

from contracts.context import USUAL_LIFETIME_S, Claims, Key, body_sha256, sign
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

SigningKey = Callable[[], Key]
"""Gives the key to sign with, asked at each attempt, so that keys can be rotated meanwhile."""


class RequestSettings(Struct, frozen=True):
    """How long and how often; seconds.

    ``attempt`` is above the 5 s for which the service waits for a row lock. The pause between
    attempts doubles from ``first_pause`` to ``longest_pause``, the upper half of it random.
    """

    encoding: Encoding = Encoding.MSGPACK
    attempt: float = 6.0
    total: float = 15.0
    first_pause: float = 0.1
    longest_pause: float = 2.0


class Speaker(Struct, frozen=True, kw_only=True):
    """Who asks: those claims of ``contracts.context.Claims`` that all its requests share."""

    audience: str
    install_id: UUID | None = None
    tenant_id: str | None = None
    version_id: str | None = None
    extension_id: str | None = None
    providers: tuple[str, ...] | None = None
    sub: str | None = None
    permissions: tuple[str, ...] | None = None


class _Call(Struct, frozen=True):
    speaker: Speaker
    op: str
    body: bytes
    jti: UUID
    traceparent: str | None
    give_up: float


class SignedRequests:
    """Requests over one connection, which stays its opener's to close."""

    def __init__(
        self,
        connection: Client,
        key: SigningKey,
        settings: RequestSettings = RequestSettings(),  # noqa: B008 - frozen
    ) -> None:
        self._connection = connection
        self._key = key
        self._settings = settings

    async def ask(
        self,
        speaker: Speaker,
        op: str,
        fields: object,
        answer: type[T],
        *,
        jti: UUID | None = None,
        traceparent: str | None = None,
    ) -> T:
        """Ask for an operation, and again until it is answered or the time is up.

        ``fields`` is the input, a Struct or a map; ``jti`` names an earlier request to repeat.
        A domain outcome, also a negative one, is returned as the operation's output.

        Raises:
            ServiceError: the operation was not considered, or a read had no result; with code
                ``UNAVAILABLE`` it may or may not have been done, and can be repeated with the
                ``request_id`` as ``jti``.
        """
        jti = jti or uuid4()
        body = self._encoded(fields, jti)
        give_up = time.monotonic() + self._settings.total
        reply = await self._answered(_Call(speaker, op, body, jti, traceparent, give_up))
        return _read(reply, answer, jti)

    def _encoded(self, fields: object, jti: UUID) -> bytes:
        try:
            body = encode(fields, self._settings.encoding)
        except MalformedBody:
            raise _failure(Code.VALIDATION_FAILED, "Request cannot be encoded", jti) from None
        if len(body) > MAX_BODY_BYTES:
            raise _failure(Code.VALIDATION_FAILED, "Request is too large", jti)
        return body

    async def _answered(self, call: _Call) -> Msg:
        """Give the first answer other than a passing unavailability."""
        failures = 0
        while True:
            try:
                return await self._attempt(call)
            except ServiceError as error:
                pause = self._pause(failures, error.retry_after_ms)
                if error.code is not Code.UNAVAILABLE or not self._may_repeat(call, pause):
                    raise
                log.info("asking again: %s", error.message, extra={"request_id": str(call.jti)})
            failures += 1
            await asyncio.sleep(pause)

    def _may_repeat(self, call: _Call, pause: float) -> bool:
        # An attempt shorter than the shortest pause would only make the service work in vain.
        next_attempt = time.monotonic() + pause + self._settings.first_pause
        return not self._connection.is_closed and next_attempt < call.give_up

    def _pause(self, failures: int, retry_after_ms: int | None) -> float:
        settings = self._settings
        pause = min(settings.first_pause * 2.0 ** min(failures, 16), settings.longest_pause)
        jittered = pause * random.uniform(0.5, 1.0)  # noqa: S311 - jitter needs no secrecy
        return max(jittered, (retry_after_ms or 0) / 1000)

    async def _attempt(self, call: _Call) -> Msg:
        """Send once.

        Raises:
            ServiceError: ``UNAVAILABLE`` where there was no answer, else as the service says.
        """
        patience = min(self._settings.attempt, call.give_up - time.monotonic())
        try:
            reply = await self._connection.request(
                f"{call.speaker.audience}.{call.op}",
                call.body,
                timeout=patience,
                headers=self._headers(call, time.time(), patience),
            )
        except nats.errors.NoRespondersError:
            raise _failure(Code.UNAVAILABLE, "No scheduler service is running", call.jti) from None
        except (TimeoutError, nats.errors.Error, OSError) as error:
            log.debug("no answer: %r", error)
            raise _failure(
                Code.UNAVAILABLE, "The scheduler service did not answer", call.jti
            ) from None
        if reply.headers and ERROR_CODE_HEADER in reply.headers:
            raise _service_error(reply, call.jti)
        return reply

    def _headers(self, call: _Call, now: float, patience: float) -> dict[str, str]:
        """Make the headers of one attempt; ``now`` in Unix seconds."""
        speaker = msgspec.structs.asdict(call.speaker)
        key = self._key()
        claims = Claims(
            iss=key.issuer,
            aud=speaker.pop("audience"),
            iat=int(now),
            exp=int(now) + USUAL_LIFETIME_S,
            jti=call.jti,
            op=call.op,
            body_sha256=body_sha256(call.body),
            **speaker,
        )
        trace: Mapping[str, str] = {TRACE_HEADER: call.traceparent} if call.traceparent else {}
        return {
            CONTENT_TYPE_HEADER: self._settings.encoding.value,
            CONTEXT_HEADER: sign(claims, key),
            DEADLINE_HEADER: str(int((now + patience) * 1000)),
            **trace,
        }


def _read(reply: Msg, answer: type[T], jti: UUID) -> T:
    try:
        return _decoded(reply, answer)
    except (MalformedBody, UnknownContentType):
        raise _service_error(reply, jti) from None


def _service_error(reply: Msg, jti: UUID) -> ServiceError:
    """Read the one body that every refusal has; a read's negative result has it too."""
    try:
        body = _decoded(reply, ErrorBody)
    except (MalformedBody, UnknownContentType):
        return _failure(Code.INTERNAL, "The answer of the service cannot be read", jti)
    retry_after_ms = body.retry_after_ms if isinstance(body.retry_after_ms, int) else None
    field_errors = body.field_errors if isinstance(body.field_errors, dict) else None
    return ServiceError(body.code, body.error, retry_after_ms, str(jti), field_errors)


def _decoded(reply: Msg, shape: type[T]) -> T:
    content_type = (reply.headers or {}).get(CONTENT_TYPE_HEADER)
    return decode(reply.data, shape, negotiate(content_type))


def _failure(code: Code, message: str, jti: UUID) -> ServiceError:
    return ServiceError(code, message, request_id=str(jti))

"""Calls the Runner over the bus: one signed request, one answer, and no exception."""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import cast
from uuid import UUID

import msgspec
import nats.errors
from msgspec import Struct

from contracts.context import Claims, Key, body_sha256, sign
from contracts.execution import ExecuteRequest
from contracts.subjects import (
    CONTENT_TYPE_HEADER,
    CONTEXT_HEADER,
    DEADLINE_HEADER,
    ERROR_HEADER,
    EXECUTE_OP,
    IDEMPOTENCY_HEADER,
    RUNNER_AUDIENCE,
    execute_subject,
)
from service.bus.client import NatsConnection, write_headers
from service.bus.reply_inbox import Inbox
from service.rules.outcomes import CallOutcome, from_response, sanitise_error
from service.runtime.tracing import Spans

MAX_RESPONSE_BYTES = 256 * 1024
MAX_TOKEN_LIFETIME_S = 120


class RunnerCall(Struct, frozen=True):
    """A request to a Runner of ``pool``, None for the default one.

    ``at`` is the database's time now, in Unix seconds.

    It is the time to sign with: the hosts' clocks may differ by minutes.
    """

    request: ExecuteRequest
    idempotency_key: UUID
    at: float
    timeout_s: float
    pool: str | None = None


class RunnerClient:
    """Signs with the current key, as its issuer, and asks whichever Runner answers."""

    def __init__(
        self,
        client: NatsConnection,
        key: Callable[[], Key],
        *,
        max_response_bytes: int = MAX_RESPONSE_BYTES,
        spans: Spans | None = None,
    ) -> None:
        self._client = client
        self._inbox = Inbox(client)
        self._key = key
        self._max_response_bytes = max_response_bytes
        self._spans = spans

    @property
    def connected(self) -> bool:
        """Return whether the bus can be reached."""
        return self._client.is_connected

    async def call(self, call: RunnerCall) -> CallOutcome:
        """Make a call, within a span where spans are made.

        No answer, and whatever else goes wrong, is a failed outcome.
        """
        request, timeout_s = call.request, call.timeout_s
        body = msgspec.json.encode(request)
        headers = {
            CONTENT_TYPE_HEADER: "application/json",
            CONTEXT_HEADER: self._token(request, body, call.at, timeout_s),
            IDEMPOTENCY_HEADER: str(call.idempotency_key),
            DEADLINE_HEADER: str(int((call.at + timeout_s) * 1000)),
        }
        if self._spans is None:
            return await self._request(call, body, headers)
        with self._spans.runner_call(request.context, call.idempotency_key) as span:
            outcome = await self._request(call, body, {**headers, **span.headers})
            span.record(outcome)
            return outcome

    async def _request(self, call: RunnerCall, body: bytes, headers: dict[str, str]) -> CallOutcome:
        try:
            block = write_headers(headers)
            answer = await self._inbox.ask(execute_subject(call.pool), block, body, call.timeout_s)
        except nats.errors.NoRespondersError:
            where = "" if call.pool is None else f" in pool {call.pool}"
            return CallOutcome(error=f"No Runner is listening{where}")
        except TimeoutError:
            return CallOutcome(error=f"No answer from the Runner within {call.timeout_s:g} s")
        except nats.errors.MaxPayloadError:
            size, limit = len(write_headers(headers)) + len(body), self._client.max_payload
            return CallOutcome(
                error=f"The request of {size} bytes is larger than the server's limit of {limit}",
                final=True,
            )
        except (nats.errors.Error, OSError, ValueError) as error:
            return CallOutcome(error=sanitise_error(f"The bus failed: {error!r}"))
        refusal = None if answer.body else answer.header(ERROR_HEADER)
        if refusal is not None:
            return CallOutcome(error=sanitise_error(refusal))
        return from_response(answer.body, self._max_response_bytes)

    def _token(self, request: ExecuteRequest, body: bytes, at: float, timeout_s: float) -> str:
        key, context = self._key(), request.context
        issued_at = int(at)
        return sign(
            Claims(
                iss=key.issuer,
                aud=RUNNER_AUDIENCE,
                iat=issued_at,
                exp=issued_at + min(math.ceil(timeout_s) + 1, MAX_TOKEN_LIFETIME_S),
                jti=cast("UUID", context.request_id),  # is a text, and is written as one
                op=EXECUTE_OP,
                body_sha256=body_sha256(body),
                install_id=_uuid(_text(context.install_id)),
                tenant_id=context.tenant_id,
                version_id=_text(context.version_id),
                extension_id=context.extension_id,
            ),
            key,
        )


@lru_cache(maxsize=4096)
def _uuid(text: str | None) -> UUID | None:
    return UUID(text) if text else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None

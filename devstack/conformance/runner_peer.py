"""A Runner on the bus, a call to it, and its answer."""

import base64
import copy
import time
from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid4

import msgspec
from msgspec import Struct
from nats.aio.client import Client

from contracts.context import Key
from contracts.encoding import MAX_BODY_BYTES
from contracts.execution import ExecuteResponse, StatusClass, classify_status
from contracts.subjects import (
    CONTEXT_HEADER,
    DEADLINE_HEADER,
    EXECUTE_OP,
    IDEMPOTENCY_HEADER,
    RUNNER_AUDIENCE,
)
from devstack.conformance.bus import BusReply, ask
from devstack.conformance.cases import Violation, expect
from devstack.conformance.tokens import TokenCase, TokenRequest, valid_token

MARGIN_S = 6.0
"""What a worker waits beyond the Runner's ``timeout_ms``."""


class RunnerPeer(Struct, frozen=True, kw_only=True):
    """The Runner that is judged, on ``subject``, and a call that its extension answers.

    ``foreign`` is a key that the Runner does not know.
    """

    client: Client
    subject: str
    key: Key
    foreign: Key
    document: Mapping[str, Any]

    def call(
        self, instructions: Mapping[str, Any] | None = None, attempt: int = 1
    ) -> "RunnerAttempt":
        """Return a call with fresh ids, not sent yet."""
        document: dict[str, Any] = copy.deepcopy(dict(self.document))
        jti, occurrence = uuid4(), uuid4()
        sent = {"status": 200} | dict(instructions or {})
        document["context"] |= {"request_id": str(jti), "attempt": attempt}
        http = document["http"]
        http["headers"] |= {
            "x-alga-attempt": str(attempt),
            "x-idempotency-key": str(occurrence),
            "content-type": "application/json",
        }
        http["body_b64"] = base64.b64encode(msgspec.json.encode(sent)).decode()
        return RunnerAttempt(peer=self, document=document, jti=jti, occurrence=occurrence)


class RunnerAttempt(Struct, kw_only=True):
    """A call that can be changed before it is sent; ``body`` replaces the document."""

    peer: RunnerPeer
    document: dict[str, Any]
    jti: UUID
    occurrence: UUID
    body: bytes | None = None

    @property
    def wire_body(self) -> bytes:
        """Return the bytes that are sent."""
        return msgspec.json.encode(self.document) if self.body is None else self.body

    def next_attempt(self, instructions: Mapping[str, Any] | None = None) -> "RunnerAttempt":
        """Return the further attempt of the same occurrence."""
        attempt = self.document["context"]["attempt"] + 1
        following = self.peer.call(instructions, attempt)
        following.occurrence = self.occurrence
        following.document["http"]["headers"]["x-idempotency-key"] = str(self.occurrence)
        return following

    def token_request(self) -> TokenRequest:
        """Return what a token for this call must be valid for."""
        return TokenRequest(
            key=self.peer.key,
            foreign=self.peer.foreign,
            audience=RUNNER_AUDIENCE,
            op=EXECUTE_OP,
            body=self.wire_body,
            now=int(time.time()),
            jti=self.jti,
        )

    async def send(
        self, *, token: TokenCase | None = None, deadline_ms: object = None
    ) -> "RunnerAnswer":
        """Send it, and return the answer. Raises Violation where there is none of that shape."""
        limit_s = self._limit_s() + MARGIN_S
        until = int((time.time() + limit_s) * 1000) if deadline_ms is None else deadline_ms
        text = valid_token(self.token_request()) if token is None else token.token
        headers = {DEADLINE_HEADER: str(until), IDEMPOTENCY_HEADER: str(self.occurrence)}
        if text is not None:
            headers[CONTEXT_HEADER] = text
        peer = self.peer
        return _answer(await ask(peer.client, peer.subject, self.wire_body, headers, limit_s))

    def _limit_s(self) -> float:
        limit = self.document.get("limits", {}).get("timeout_ms")
        return limit / 1000 if type(limit) is int and 0 < limit <= 60_000 else 30.0


class RunnerAnswer(Struct, frozen=True):
    """What the Runner answered, well formed."""

    response: ExecuteResponse

    @property
    def succeeded(self) -> bool:
        """Return whether the attempt was a success."""
        success = classify_status(self.response.status) is StatusClass.SUCCESS
        return success and self.response.error is None

    @property
    def shown(self) -> str:
        """Return the answer in a few words."""
        error = self.response.error
        return f"status {self.response.status}" + ("" if error is None else f" ({error[:80]})")

    def expect_success(self) -> None:
        """Raise Violation where it is none."""
        expect(self.succeeded, f"not a success: {self.shown}")

    def expect_failure(self, *statuses: int) -> None:
        """Raise Violation unless it is an error with one of these statuses."""
        allowed = " or ".join(map(str, statuses))
        expect(self.response.status in statuses, f"expected {allowed}, got {self.shown}")
        expect(self.response.error is not None, f"{self.shown}, but no error says why")

    def echo(self) -> dict[str, Any]:
        """Return what the extension says that it received. Raises Violation."""
        try:
            echo = msgspec.json.decode(
                base64.b64decode(self.response.body_b64 or "", validate=True)
            )
            return {"nonce": echo["nonce"], "headers": echo["headers"], "body": echo["body"]}
        except (msgspec.MsgspecError, ValueError, TypeError, KeyError):
            raise Violation(
                f"{self.shown}, with a body that is not the one of examples/conformance"
            ) from None


def _answer(reply: BusReply) -> RunnerAnswer:
    size = len(reply.body)
    expect(size <= MAX_BODY_BYTES, f"the answer has {size} bytes, more than {MAX_BODY_BYTES}")
    document = reply.json()
    try:
        response = msgspec.convert(document, ExecuteResponse)
    except msgspec.ValidationError as error:
        raise Violation(f"the answer is no execute response: {error}") from None
    valid = classify_status(response.status) is not StatusClass.INVALID
    expect(valid, f"status {response.status} is none of HTTP")
    return RunnerAnswer(response)

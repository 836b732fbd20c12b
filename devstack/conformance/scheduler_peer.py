"""A scheduler service on the bus, a request to it, and its answer."""

import time
from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid4

from msgspec import Struct
from nats.aio.client import Client

from contracts.context import Key
from contracts.encoding import (
    Encoding,
    MalformedBody,
    UnknownContentType,
    decode_map,
    encode,
    negotiate,
)
from contracts.errors import NUMBERS, Code
from contracts.subjects import (
    CONTENT_TYPE_HEADER,
    CONTEXT_HEADER,
    DEADLINE_HEADER,
    ERROR_CODE_HEADER,
    ERROR_HEADER,
    HOST_AUDIENCE,
    REQUEST_ID_HEADER,
    host_subject,
)
from devstack.conformance.bus import BusReply, ask
from devstack.conformance.cases import Violation, expect
from devstack.conformance.tokens import TokenCase, TokenRequest, valid_token


class SchedulerPeer(Struct, frozen=True, kw_only=True):
    """The service that is judged, and an install with an endpoint that may be scheduled."""

    client: Client
    key: Key
    foreign: Key
    install_id: UUID
    endpoint: str

    def request(
        self, op: str, fields: object = None, encoding: Encoding = Encoding.MSGPACK
    ) -> "SchedulerRequest":
        """Return a request with a fresh ``jti``, not sent yet."""
        body = encode({} if fields is None else fields, encoding)
        return SchedulerRequest(
            peer=self, op=op, body=body, jti=uuid4(), content_type=encoding.value
        )


class SchedulerRequest(Struct, kw_only=True):
    """A request that can be changed before it is sent; sending it again repeats its ``jti``.

    Without ``content_type`` it is sent without that header.
    """

    peer: SchedulerPeer
    op: str
    body: bytes
    jti: UUID
    content_type: str | None

    def token_request(self) -> TokenRequest:
        """Return what a token for this request must be valid for."""
        return TokenRequest(
            key=self.peer.key,
            foreign=self.peer.foreign,
            audience=HOST_AUDIENCE,
            op=self.op,
            body=self.body,
            now=int(time.time()),
            jti=self.jti,
            install_id=self.peer.install_id,
        )

    async def send(
        self, *, token: TokenCase | None = None, deadline_ms: int | None = None, **claims: object
    ) -> "SchedulerAnswer":
        """Send it, and return the answer. Raises Violation where there is none."""
        text = valid_token(self.token_request(), **claims) if token is None else token.token
        until = int((time.time() + 6) * 1000) if deadline_ms is None else deadline_ms
        optional = {CONTENT_TYPE_HEADER: self.content_type, CONTEXT_HEADER: text}
        headers = {name: value for name, value in optional.items() if value is not None}
        headers[DEADLINE_HEADER] = str(until)
        reply = await ask(self.peer.client, host_subject(self.op), self.body, headers)
        return _answer(reply)


class SchedulerAnswer(Struct, frozen=True):
    """A reply and what its body says."""

    reply: BusReply
    encoding: Encoding
    members: Mapping[str, Any]

    @property
    def number(self) -> str | None:
        """Return the number of a service error, None for a result."""
        return self.reply.headers.get(ERROR_CODE_HEADER)

    def expect_result(self) -> Mapping[str, Any]:
        """Return the members of a positive result. Raises Violation."""
        refused = self.number is not None or self.members.get("success", True) is not True
        expect(not refused, f"refused: {dict(self.members)}")
        return self.members

    def expect_negative(self, code: Code, *fields: str) -> None:
        """Raise Violation unless it is a result with this code and these field errors."""
        expect(self.number is None, f"a service error instead of a result: {self.number}")
        self._expect_refusal(code)
        named = sorted(self.members.get("fieldErrors") or {})
        expect(named == sorted(fields), f"field errors of {named}, not of {sorted(fields)}")

    def expect_error(self, code: Code) -> None:
        """Raise Violation unless it is a service error with this code."""
        self._expect_refusal(code)
        number = str(NUMBERS[code])
        expect(self.number == number, f"{ERROR_CODE_HEADER} is {self.number}, not {number}")
        expect(
            bool(self.reply.headers.get(ERROR_HEADER)), f"a service error without {ERROR_HEADER}"
        )

    def _expect_refusal(self, code: Code) -> None:
        seen = self.members.get("code")
        expect(seen == code.value, f"code {seen}, not {code.value}: {dict(self.members)}")
        expect(self.members.get("success") is False, "a refusal without success false")
        expect(isinstance(self.members.get("error"), str), "a refusal without a text")


def _answer(reply: BusReply) -> SchedulerAnswer:
    expect(REQUEST_ID_HEADER in reply.headers, f"the reply has no {REQUEST_ID_HEADER}")
    named = reply.headers.get(CONTENT_TYPE_HEADER)
    expect(named is not None, "the reply has no Content-Type")
    try:
        encoding = negotiate(named)
        return SchedulerAnswer(reply, encoding, decode_map(reply.body, encoding))
    except (MalformedBody, UnknownContentType) as error:
        raise Violation(f"the reply cannot be read: {error}") from None

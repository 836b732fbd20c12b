"""Hostile messages to the host operations: unsigned, forged, and validly signed.

The signed ones matter most: past the verification, they reach the rules and the SQL.
"""

import json
import time
from collections.abc import Callable, Sequence
from random import Random
from typing import Any
from uuid import UUID

from msgspec import Struct

from contracts import base64url
from contracts.context import TOKEN_TYPE, body_sha256
from contracts.encoding import MAX_BODY_BYTES, Encoding
from contracts.schedules import HOST_OPS
from contracts.subjects import HOST_AUDIENCE
from tests.support.hostile_values import (
    SCALARS,
    assembled,
    encoded,
    hostile_cron,
    hostile_text,
    hostile_value,
    mutated,
)
from tests.support.keys import RUNNER_KEY
from tests.support.platform import Installed
from tests.support.wire_client import header_block

OPS = tuple(HOST_OPS)
LARGEST_BODY = 1_000_000
FIELDS = {
    "list": (),
    "get": ("scheduleId",),
    "create": ("endpoint", "cron", "timezone", "enabled", "name", "payload"),
    "update": (
        *("scheduleId", "endpoint", "cron", "timezone", "enabled", "name", "payload"),
        "expectedRevision",
    ),
    "delete": ("scheduleId",),
    "getEndpoints": (),
}
ENDPOINTS = ("/api/heartbeat", "GET /api/status", "/api/both", "api//both", "post /api/both")
CRONS = ("0 * * * *", "*/5 1-3 * * *", "30 2 29 2 *", "0 0 * * 1-5", "15,45 */2 1 * *")
ZONES = ("UTC", "Europe/Berlin", "US/Eastern", "Australia/Lord_Howe", "")
TYPES = ("", ";", "text/plain", "application/", "APPLICATION/JSON", "application/json;q=\xe4")
DEADLINES = ("0", "1", "-1", "99999999999999", "9" * 40, "1e3", " 5", "٣", "NaN", "", "\x00")
CLAIM_VALUES = (*SCALARS, -1, 10**30, "*", "00000000-0000-0000-0000-000000000000", ["cap:x"], "é")


class Hostile(Struct, frozen=True):
    """One message, in the name of ``install``.

    ``jti`` is set where an honest token vouches for these very bytes.
    """

    kind: str
    install: UUID
    op: str
    headers: bytes | None
    body: bytes
    jti: UUID | None = None


class HostileMessages:
    """A stream of messages, the same for the same seed and ``schedule_ids``.

    ``schedule_ids``, by install, may grow meanwhile: some messages name one of them.
    """

    def __init__(self, seed: int, installs: Sequence[Installed]) -> None:
        self.random = Random(seed)
        self.schedule_ids = {each.install_id: [str(each.registry_id)] for each in installs}
        self._installs = installs
        self._speaker = installs[0]
        self._last: Hostile | None = None
        self._kinds: tuple[tuple[Callable[[], Hostile], int], ...] = (
            (self._noise, 10),
            (self._forged_token, 10),
            (self._tampered_body, 6),
            (self._other_subject, 2),
            (self._odd_claims, 12),
            (self._odd_headers, 10),
            (self._hostile_fields, 30),
            (self._mutated_fields, 14),
            (self._sound, 6),
        )

    def message(self) -> Hostile:
        """Return the next message, small enough for the bus to take it."""
        if self._last is not None and self.random.random() < 0.03:
            return self._last
        kinds, weights = zip(*self._kinds, strict=True)
        while True:
            self._speaker = self.random.choice(self._installs)
            kind: Callable[[], Hostile] = self.random.choices(kinds, weights)[0]
            self._last = kind()
            if len(self._last.body) <= LARGEST_BODY:
                return self._last

    def _hostile(
        self, kind: str, op: str, headers: bytes | None, body: bytes, jti: UUID | None = None
    ) -> Hostile:
        return Hostile(kind, self._speaker.install_id, op, headers, body, jti)

    def _noise(self) -> Hostile:
        random = self.random
        body = random.randbytes(random.choice((0, 1, 2, 30, 3_000)))
        if random.random() < 0.01:
            body = random.randbytes(1) * random.choice(
                (MAX_BODY_BYTES, MAX_BODY_BYTES + 1, 900_000)
            )
        headers = random.choice(
            (None, b"NATS/1.0\r\n\r\n", header_block(random.randbytes(40)), _status(random))
        )
        return self._hostile("noise", random.choice(OPS), headers, body)

    def _forged_token(self) -> Hostile:
        op, body = self._body()
        token = self._token(op, body, self._jti()).encode()
        forged = token
        # White space around it would not count: that is the header's.
        while (forged := mutated(self.random, forged).translate(None, b" \t\r\n")) == token:
            pass
        return self._hostile("forged token", op, _headers(forged, Encoding.MSGPACK), body)

    def _tampered_body(self) -> Hostile:
        op, body = self._body()
        token = self._token(op, body, self._jti())
        tampered = mutated(self.random, body) + b"\xc0"
        return self._hostile(
            "tampered body", op, _headers(token.encode(), Encoding.MSGPACK), tampered
        )

    def _other_subject(self) -> Hostile:
        op, body = self._body()
        headers = _headers(self._token(op, body, self._jti()).encode(), Encoding.MSGPACK)
        other = self.random.choice([each for each in OPS if each != op])
        return self._hostile("other subject", other, headers, body)

    def _odd_claims(self) -> Hostile:
        random = self.random
        op, body = self._body()
        claims = self._claims(op, body, self._jti())
        for _ in range(random.randint(1, 2)):
            name = random.choice(
                (*claims, "version_id", "extension_id", "providers", "nbf", "crit")
            )
            claims[name] = random.choice(CLAIM_VALUES)
        token = _signed(json.dumps(claims).encode())
        return self._hostile("odd claims", op, _headers(token.encode(), Encoding.MSGPACK), body)

    def _odd_headers(self) -> Hostile:
        random = self.random
        op, body = self._body()
        token = self._token(op, body, self._jti())
        more = [
            f"Content-Type: {random.choice(TYPES)}",
            f"Ext-Deadline: {random.choice(DEADLINES)}",
            f"Ext-Request-Id: {hostile_text(random)[:200]}",
            "Nats-Service-Error: forged",
            "Nats-Service-Error-Code: 200",
            "traceparent: 00-zz",
            f"Ext-Context: {hostile_text(random)[:5_000]}",
            "no colon at all",
            ": no name",
        ]
        lines = [f"Ext-Context: {token}".encode()]
        chosen = random.sample(more, random.randint(1, 4))
        lines += [text.replace("\r", "").replace("\n", "").encode() for text in chosen]
        random.shuffle(lines)
        return self._hostile("odd headers", op, header_block(*lines), body)

    def _hostile_fields(self) -> Hostile:
        random, encoding = self.random, self._encoding()
        op = self._op()
        members = self._sound_fields(op, encoding)
        for name in random.sample([*FIELDS[op], "unknown"], random.randint(1, len(FIELDS[op]) + 1)):
            members[name] = self._bad_field(name, encoding)
        return self._signed("hostile fields", op, assembled(members, encoding), encoding)

    def _mutated_fields(self) -> Hostile:
        encoding, op = self._encoding(), self._op()
        body = mutated(self.random, assembled(self._sound_fields(op, encoding), encoding))
        return self._signed("mutated fields", op, body, encoding)

    def _sound(self) -> Hostile:
        encoding, op = self._encoding(), self._op()
        body = assembled(self._sound_fields(op, encoding), encoding)
        return self._signed("sound", op, body, encoding)

    def _bad_field(self, name: str, encoding: Encoding) -> bytes:
        random = self.random
        kind = random.random()
        if name == "cron" and kind < 0.6:
            return encoded(hostile_cron(random), encoding)
        if name == "payload" and kind < 0.4:
            value = hostile_value(random, encoding)
            return assembled({"a": value, "b": hostile_value(random, encoding)}, encoding)
        if kind < 0.2:
            return encoded(hostile_text(random), encoding)
        return hostile_value(random, encoding)

    def _sound_fields(self, op: str, encoding: Encoding) -> dict[str, bytes]:
        random = self.random
        sound: dict[str, Any] = {
            "scheduleId": random.choice(self._known_ids()),
            "endpoint": random.choice(ENDPOINTS),
            "cron": random.choice(CRONS),
            "timezone": random.choice(ZONES),
            "enabled": random.random() < 0.5,
            "name": f"name {random.randrange(10_000)}",
            "payload": random.choice(({"a": [1, 2.5, None, "ä😀"]}, [], [[[]]], {"": 1e300})),
            "expectedRevision": random.randrange(4),
        }
        return {
            name: encoded(sound[name], encoding)
            for name in FIELDS[op]
            if name in {"scheduleId", "endpoint", "cron"} or random.random() < 0.4
        }

    def _known_ids(self) -> list[str]:
        # Mostly its own latest, now and then another's: those it must not even learn of.
        whose = self._speaker if self.random.random() < 0.9 else self.random.choice(self._installs)
        return self.schedule_ids[whose.install_id][-30:]

    def _op(self) -> str:
        return self.random.choices(OPS, (1, 3, 8, 8, 4, 1))[0]

    def _encoding(self) -> Encoding:
        return self.random.choice(tuple(Encoding))

    def _body(self) -> tuple[str, bytes]:
        op = self._op()
        return op, assembled(self._sound_fields(op, Encoding.MSGPACK), Encoding.MSGPACK)

    def _jti(self) -> UUID:
        # A small range now and then, so that one id is used for different requests.
        bits = 128 if self.random.random() < 0.9 else 10
        return UUID(int=self.random.getrandbits(bits))

    def _signed(self, kind: str, op: str, body: bytes, encoding: Encoding) -> Hostile:
        jti = self._jti()
        token = self._token(op, body, jti).encode()
        return self._hostile(kind, op, _headers(token, encoding), body, jti)

    def _token(self, op: str, body: bytes, jti: UUID) -> str:
        return _signed(json.dumps(self._claims(op, body, jti)).encode())

    def _claims(self, op: str, body: bytes, jti: UUID) -> dict[str, Any]:
        installed, now = self._speaker, int(time.time())
        return {
            "iss": RUNNER_KEY.issuer,
            "aud": HOST_AUDIENCE,
            "iat": now,
            "exp": now + 100,
            "jti": str(jti),
            "op": op,
            "body_sha256": body_sha256(body),
            "install_id": str(installed.install_id),
            "tenant_id": installed.tenant_id,
        }


def _signed(payload: bytes) -> str:
    """Return a token for this payload, whatever it is, as a holder of the key could make it."""
    header = {"alg": RUNNER_KEY.alg, "kid": RUNNER_KEY.kid, "typ": TOKEN_TYPE}
    message = b".".join(base64url.encode(part) for part in (json.dumps(header).encode(), payload))
    assert RUNNER_KEY.sign is not None
    return (message + b"." + base64url.encode(RUNNER_KEY.sign(message))).decode()


def _headers(token: bytes, encoding: Encoding) -> bytes:
    return header_block(b"Ext-Context: " + token, b"Content-Type: " + encoding.value.encode())


def _status(random: Random) -> bytes:
    return b"NATS/1.0 " + random.choice((b"503", b"100 Idle", b"\xff\xff\xff", b"4")) + b"\r\n\r\n"

"""Signed contexts that must be accepted, and others that must be refused, each with the reason."""

import json
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

from msgspec import Struct

from contracts import base64url
from contracts.context import (
    MAX_LIFETIME_S,
    MAX_TOKEN_BYTES,
    TOKEN_TYPE,
    Key,
    Reason,
    body_sha256,
)
from contracts.keys import ED25519_NAMES, HS256
from contracts.subjects import HOST_AUDIENCE

_DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


class TokenRequest(Struct, frozen=True, kw_only=True):
    """What a token is to be valid for; ``now`` in Unix seconds, ``install_id`` of a host only.

    ``foreign`` signs forgeries: a key of the same algorithm that the verifier does not know.
    """

    key: Key
    foreign: Key
    audience: str
    op: str
    body: bytes
    now: int
    jti: UUID
    install_id: UUID | None = None


class TokenCase(Struct, frozen=True):
    """A token, None for a request without one; ``reason`` is None where it must be accepted.

    ``timing`` says that it is about the time: over a bus the time goes on.
    """

    name: str
    token: str | None
    reason: Reason | None = None
    timing: bool = False


def claims_of(request: TokenRequest) -> dict[str, Any]:
    """Return the claims of a valid token."""
    install = {} if request.install_id is None else {"install_id": str(request.install_id)}
    return {
        "iss": request.key.issuer,
        "aud": request.audience,
        "iat": request.now,
        "exp": request.now + 60,
        "jti": str(request.jti),
        "op": request.op,
        "body_sha256": body_sha256(request.body),
        **install,
    }


def valid_token(request: TokenRequest, **claims: object) -> str:
    """Return a token that is valid but for ``claims``, which replace its own."""
    return _signed(request.key, claims_of(request) | claims)


def token_cases(request: TokenRequest) -> Iterator[TokenCase]:
    """Return the cases, each a token made for the request."""
    key, claims = request.key, claims_of(request)
    good = _signed(key, claims)
    yield TokenCase("valid", good)
    yield TokenCase("unknown claim is ignored", _signed(key, {**claims, "locale": "de"}))
    if key.alg in ED25519_NAMES:
        for name in sorted(ED25519_NAMES):
            yield TokenCase(f"algorithm called {name}", _signed(key, claims, alg=name))
    yield from _malformed(good, claims, key)
    yield from _wrong_header(request, claims)
    yield from _wrong_claims(request, claims)
    yield from _wrong_time(request, claims)


def _malformed(good: str, claims: dict[str, Any], key: Key) -> Iterator[TokenCase]:
    header, payload, signature = good.split(".")
    # The last character of a signature has bits that stand for nothing, and must be zero.
    last = _DIGITS[_DIGITS.index(signature[-1]) ^ 1]
    members = json.dumps(claims, separators=(",", ":"))
    twice = f'{members[:-1]},"op":{json.dumps(claims["op"])}}}'.encode()
    yield TokenCase("no token", None, Reason.MISSING)
    yield TokenCase("two segments", f"{header}.{payload}", Reason.MALFORMED)
    yield TokenCase("four segments", f"{good}.{signature}", Reason.MALFORMED)
    yield TokenCase("not base64url", f"{header}.{payload}.{signature[:-1]}!", Reason.MALFORMED)
    yield TokenCase("padded base64url", f"{good}=", Reason.MALFORMED)
    yield TokenCase("base64url not canonical", f"{good[:-1]}{last}", Reason.MALFORMED)
    yield TokenCase("member appears twice", _sign_bytes(key, twice), Reason.MALFORMED)
    yield TokenCase("claims are no object", _sign_bytes(key, b"[]"), Reason.MALFORMED)
    long = _signed(key, {**claims, "extension_id": "x" * MAX_TOKEN_BYTES})
    yield TokenCase("longer than 4096 characters", long, Reason.OVERSIZE)


def _wrong_header(request: TokenRequest, claims: dict[str, Any]) -> Iterator[TokenCase]:
    key = request.key
    other = "EdDSA" if key.alg == HS256 else HS256
    unsigned = _signed(key, claims, alg="none").rpartition(".")[0] + "."
    yield TokenCase("algorithm none", unsigned, Reason.ALGORITHM)
    yield TokenCase("another algorithm", _signed(key, claims, alg=other), Reason.ALGORITHM)
    yield TokenCase("another type", _signed(key, claims, typ="JWT"), Reason.TYPE)
    yield TokenCase("unknown crit", _signed(key, claims, crit=["exp"]), Reason.CRITICAL)
    yield TokenCase("unknown kid", _signed(key, claims, kid="unknown"), Reason.UNKNOWN_KEY)
    yield TokenCase("forged signature", _forged(request, claims), Reason.SIGNATURE)
    header, _, signature = _signed(key, claims).split(".")
    later = _segment({**claims, "exp": claims["exp"] + 1})
    yield TokenCase(
        "claims changed after signing", f"{header}.{later}.{signature}", Reason.SIGNATURE
    )


def _wrong_claims(request: TokenRequest, claims: dict[str, Any]) -> Iterator[TokenCase]:
    for name, value, reason in (
        ("another audience", {"aud": "ext.other"}, Reason.AUDIENCE),
        ("another issuer", {"iss": "somebody"}, Reason.ISSUER),
        ("another operation", {"op": "other"}, Reason.OPERATION),
        ("another body", {"body_sha256": body_sha256(request.body + b" ")}, Reason.BODY),
        ("audience is a list", {"aud": [request.audience]}, Reason.CLAIMS),
        ("exp is a text", {"exp": str(claims["exp"])}, Reason.CLAIMS),
        ("iat has a fraction", {"iat": claims["iat"] + 0.5}, Reason.CLAIMS),
        ("jti is no UUID", {"jti": "1"}, Reason.CLAIMS),
        ("claim is null", {"tenant_id": None}, Reason.CLAIMS),
        ("providers is a text", {"providers": "cap:scheduler.manage"}, Reason.CLAIMS),
    ):
        yield TokenCase(name, _signed(request.key, claims | value), reason)
    required = ["iss", "aud", "iat", "exp", "jti", "op", "body_sha256"]
    if request.audience == HOST_AUDIENCE:
        required.append("install_id")
    for name in required:
        rest = {claim: value for claim, value in claims.items() if claim != name}
        yield TokenCase(f"{name} is missing", _signed(request.key, rest), Reason.CLAIMS)


def _wrong_time(request: TokenRequest, claims: dict[str, Any]) -> Iterator[TokenCase]:
    now = request.now
    for name, iat, exp, reason in (
        ("exp - iat is 120", now, now + MAX_LIFETIME_S, None),
        ("exp - iat is 121", now, now + MAX_LIFETIME_S + 1, Reason.LIFETIME),
        ("exp is iat", now, now, Reason.LIFETIME),
        ("expired within the leeway", now - 60, now - 5, None),
        ("expired", now - 160, now - 100, Reason.EXPIRED),
        ("issued within the leeway", now + 5, now + 65, None),
        ("issued in the future", now + 40, now + 100, Reason.NOT_YET_VALID),
    ):
        token = _signed(request.key, claims | {"iat": iat, "exp": exp})
        yield TokenCase(name, token, reason, timing=reason is None)
    nbf = _signed(request.key, claims | {"nbf": now + 40})
    yield TokenCase("nbf in the future", nbf, Reason.NOT_YET_VALID)


def _forged(request: TokenRequest, claims: dict[str, Any]) -> str:
    return _signed(request.foreign, claims, kid=request.key.kid)


def _signed(key: Key, claims: dict[str, Any], **header: object) -> str:
    return _sign_bytes(key, _json(claims), **header)


def _sign_bytes(key: Key, payload: bytes, **header: object) -> str:
    members = {"alg": key.alg, "kid": key.kid, "typ": TOKEN_TYPE} | header
    message = base64url.encode(_json(members)) + b"." + base64url.encode(payload)
    return (message + b"." + base64url.encode(_signer(key)(message))).decode()


def _signer(key: Key) -> Callable[[bytes], bytes]:
    if key.sign is None:
        raise ValueError(f"key {key.kid!r} cannot sign: it has no private part")
    return key.sign


def _segment(members: dict[str, Any]) -> str:
    return base64url.encode(_json(members)).decode()


def _json(members: dict[str, Any]) -> bytes:
    return json.dumps(members, separators=(",", ":")).encode()

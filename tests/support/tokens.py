"""Fixed claims, one key for each purpose, and tokens as a holder of a key could forge them."""

import json
from typing import Any
from uuid import UUID

import pytest

from contracts import base64url
from contracts.context import (
    TOKEN_TYPE,
    Claims,
    ContextRefused,
    Reason,
    body_sha256,
    generate_key,
    key_set_document,
    parse_key_set,
    verify,
)

HOST, ADMIN, RUNNER = "ext.scheduler", "ext.scheduler.admin", "ext.runner"
BODY = b'{"cron":"0 * * * *"}'
NOW = 1_700_000_000.25
INSTALL = UUID("5a8e5c5e-0000-4000-8000-000000000001")
JWKS = {
    "hs": generate_key("HS256", kid="hs", issuer="runner", audiences=[HOST]),
    "ed": generate_key("EdDSA", kid="ed", issuer="runner", audiences=[HOST]),
    "new-name": generate_key("Ed25519", kid="new-name", issuer="runner", audiences=[HOST]),
    "platform": generate_key("EdDSA", kid="platform", issuer="platform", audiences=[ADMIN]),
    "operator": generate_key(
        "EdDSA", kid="operator", issuer="operator", audiences=[ADMIN], operator=True
    ),
    "worker": generate_key("HS256", kid="worker", issuer="worker", audiences=[RUNNER]),
}
KEYS = parse_key_set(key_set_document(list(JWKS.values())))

GOOD: dict[str, Any] = {
    "iss": "runner",
    "aud": HOST,
    "iat": 1_700_000_000,
    "exp": 1_700_000_060,
    "jti": "5a8e5c5e-0000-4000-8000-00000000000a",
    "op": "create",
    "body_sha256": body_sha256(BODY),
    "install_id": str(INSTALL),
}
GOOD_ADMIN: dict[str, Any] = {
    name: value for name, value in GOOD.items() if name != "install_id"
} | {
    "iss": "platform",
    "aud": ADMIN,
    "op": "runNow",
    "sub": "user-7",
    "tenant_id": "tenant-1",
    "permissions": ["extension:read"],
}


def token(claims: object, by: str = "hs", **header: Any) -> str:
    """Sign whatever is given, as a holder of the key could."""
    fields = {"alg": JWKS[by]["alg"], "kid": by, "typ": TOKEN_TYPE} | header
    return compact(json.dumps(fields).encode(), json.dumps(claims).encode(), by)


def compact(header: bytes, payload: bytes, kid: str = "hs") -> str:
    return compact_segments(base64url.encode(header), base64url.encode(payload), kid)


def compact_segments(header: bytes, payload: bytes, kid: str = "hs") -> str:
    make = KEYS.keys[kid].sign
    assert make is not None
    message = header + b"." + payload
    return (message + b"." + base64url.encode(make(message))).decode()


def check(
    text: str | None,
    *,
    audience: str = HOST,
    op: str = "create",
    body: bytes = BODY,
    now: float = NOW,
) -> Claims:
    return verify(text, KEYS, audience=audience, op=op, body=body, now=now)


def refusal(text: str | None, **asked: Any) -> Reason:
    with pytest.raises(ContextRefused) as caught:
        check(text, **asked)
    assert caught.value.__cause__ is None
    return caught.value.reason

"""The examples that the vectors and the guide share: published keys, so never to be used."""

from types import MappingProxyType
from typing import Any
from uuid import UUID

import msgspec

from contracts.context import Key, parse_key_set
from contracts.execution import (
    ExecuteContext,
    ExecuteHttp,
    ExecuteLimits,
    ExecuteRequest,
)
from contracts.subjects import HOST_AUDIENCE, RUNNER_AUDIENCE

NOW = 1_767_225_600
"""2026-01-01T00:00:00Z, in Unix seconds."""
INSTALL_ID = UUID("0b6a1f52-8d3e-4a7c-b1f4-2c9e5d7a8b13")
JTI = UUID("5f0c2a6e-3b1d-4c57-9a43-6f1d2e8b7c90")
OCCURRENCE = "5b0f7f0e-6a53-5c1e-8a0e-6f0a4f3c2b17"
SCHEDULE_ID = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
SLOT = "2026-01-01T00:15:00Z"

_ED25519 = {
    "kty": "OKP",
    "crv": "Ed25519",
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
    "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
}
_HS256 = {"kty": "oct", "k": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"}
_OTHER_ED25519 = {  # of RFC 8032, section 7.1, the second test
    "kty": "OKP",
    "crv": "Ed25519",
    "x": "PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0Zgw",
    "d": "TM0Imyj_ltqdtsNG7BFOD1uKMZ81q6Yk2oz27U-4pvs",
}
_OTHER_HS256 = {"kty": "oct", "k": "_-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE"}


def _jwk(kid: str, alg: str, material: dict[str, str]) -> dict[str, Any]:
    host = kid.startswith("example")
    issuer, audience = ("runner", HOST_AUDIENCE) if host else ("ext-scheduler", RUNNER_AUDIENCE)
    return {"kid": kid, "alg": alg, "ext_iss": issuer, "ext_aud": [audience], **material}


JWKS = [
    _jwk("example-ed25519", "EdDSA", _ED25519),
    _jwk("example-hs256", "HS256", _HS256),
    _jwk("worker-ed25519", "EdDSA", _ED25519),
    _jwk("worker-hs256", "HS256", _HS256),
]
"""Those of a Runner, which sign host requests, and those of a worker."""


def sample_keys() -> list[Key]:
    """Return the keys, which can sign."""
    return list(parse_key_set(msgspec.json.encode({"keys": JWKS})).keys.values())


def foreign_key(like: Key) -> Key:
    """Return a key of the same algorithm and name, with other material."""
    ed25519 = like.alg != "HS256"
    material = _OTHER_ED25519 if ed25519 else _OTHER_HS256
    jwk = {
        "kid": like.kid,
        "alg": like.alg,
        "ext_iss": like.issuer,
        "ext_aud": sorted(like.audiences),
        **material,
    }
    [key] = parse_key_set(msgspec.json.encode({"keys": [jwk]})).keys.values()
    return key


def execute_document(path: str = "/call") -> ExecuteRequest:
    """Return a worker's request for a call of the extension in ``examples/conformance``."""
    extension = "f1f5b7a2-64b8-4d1e-9c55-3b7e1c0a9d21"
    return ExecuteRequest(
        context=ExecuteContext(
            request_id=str(JTI),
            tenant_id="acme",
            extension_id=extension,
            install_id=str(INSTALL_ID),
            version_id="9a3f6c10-2f7b-4f58-8a0d-5e2c7b1d4e66",
            content_hash="sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            config={"region": "eu"},
            trigger="schedule",
            schedule_id=SCHEDULE_ID,
            scheduled_for=SLOT,
            attempt=1,
        ),
        http=ExecuteHttp(
            method="POST",
            path=path,
            headers=dict(HEADERS) | {"x-alga-extension": extension},
            body_b64="eyJzdGF0dXMiOjIwMH0=",
        ),
        limits=ExecuteLimits(timeout_ms=30_000),
        providers=["cap:context.read", "cap:log.emit", "cap:scheduler.manage", "cap:user.read"],
    )


HEADERS = MappingProxyType(
    {
        "x-alga-tenant": "acme",
        "x-alga-schedule-id": SCHEDULE_ID,
        "x-alga-schedule-name": "Heartbeat%20t%C3%A4glich",
        "x-alga-scheduled-for": SLOT,
        "x-alga-attempt": "1",
        "x-alga-trigger": "schedule",
        "x-idempotency-key": OCCURRENCE,
        "content-type": "application/json",
    }
)

"""The golden files: bytes that were once sent, one folder for each release that sent them.

``python -m tests.wire.golden_files`` writes the folder of the release in the making. Folders of
releases that are out are never written again: what they hold must decode for ever.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from contracts.context import Claims, body_sha256, parse_key_set, sign
from contracts.encoding import Encoding, encode
from tests.wire.samples_admin import ADMIN_SAMPLES
from tests.wire.samples_host import (
    ERROR_SAMPLES,
    EVENT_SAMPLES,
    EXECUTE_SAMPLES,
    HOST_SAMPLES,
)

FOLDER = Path(__file__).parent / "golden"
CURRENT = "0.1.0"
KEYS_FILE = "keys.json"

TOKEN_BODY = b'{"cron":"0 * * * *"}'
TOKEN_IAT = 1_700_000_000
_COMMON: dict[str, Any] = {
    "iat": TOKEN_IAT,
    "exp": TOKEN_IAT + 60,
    "jti": UUID("7f0c8e9a-9a52-4e0b-8a43-0d6f3d8f0006"),
    "body_sha256": body_sha256(TOKEN_BODY),
}
_INSTALL = UUID("7f0c8e9a-9a52-4e0b-8a43-0d6f3d8f0002")
TOKEN_CLAIMS: dict[str, Claims] = {
    "runner-hs256": Claims(
        iss="runner-1",
        aud="ext.scheduler",
        op="create",
        install_id=_INSTALL,
        tenant_id="tenant-1",
        providers=("cap:scheduler.manage",),
        **_COMMON,
    ),
    "runner-ed25519": Claims(
        iss="runner-1", aud="ext.scheduler", op="list", install_id=_INSTALL, **_COMMON
    ),
    "operator-ed25519": Claims(
        iss="platform",
        aud="ext.scheduler.admin",
        op="runNow",
        sub="user-7",
        permissions=("extension:read", "extension:write"),
        tenant_id="*",
        **_COMMON,
    ),
    "worker-hs256": Claims(iss="worker-1", aud="ext.runner", op="execute", **_COMMON),
}
"""Under the ``kid`` of the key that signs: both algorithms give the same bytes every time."""


def both_encodings(value: object) -> dict[str, str]:
    """Return the JSON as text, MessagePack as hexadecimal digits."""
    return {
        "json": encode(value, Encoding.JSON).decode(),
        "msgpack": encode(value, Encoding.MSGPACK).hex(),
    }


def operations(samples: Mapping[str, tuple[msgspec.Struct, msgspec.Struct]]) -> dict[str, Any]:
    """Golden content of operations: wire name → input, output, service error."""
    error = ERROR_SAMPLES["UNAVAILABLE"]
    return {
        op: {
            "input": both_encodings(given),
            "output": both_encodings(output),
            "error": both_encodings(error),
        }
        for op, (given, output) in samples.items()
    }


def golden() -> dict[str, dict[str, Any]]:
    """File name → content, as the code writes it today."""
    keys = parse_key_set((FOLDER / KEYS_FILE).read_bytes()).keys
    return {
        "host.json": operations(HOST_SAMPLES),
        "admin.json": operations(ADMIN_SAMPLES),
        "errors.json": {code: both_encodings(body) for code, body in ERROR_SAMPLES.items()},
        "events.json": {kind: text(event) for kind, event in EVENT_SAMPLES.items()},
        "execution.json": {name: text(sample) for name, sample in EXECUTE_SAMPLES.items()},
        "tokens.json": {kid: sign(claims, keys[kid]) for kid, claims in TOKEN_CLAIMS.items()},
    }


def text(value: object) -> str:
    """Return what travels as JSON only."""
    return encode(value, Encoding.JSON).decode()


def read(release: str, name: str) -> dict[str, Any]:
    """Return the content of one golden file."""
    content: dict[str, Any] = json.loads((FOLDER / release / name).read_text())
    return content


def write() -> None:
    """Write the golden files of the release in the making."""
    (FOLDER / CURRENT).mkdir(exist_ok=True)
    for name, content in golden().items():
        document = json.dumps(content, indent=1, ensure_ascii=False)
        (FOLDER / CURRENT / name).write_text(document + "\n")


if __name__ == "__main__":
    write()

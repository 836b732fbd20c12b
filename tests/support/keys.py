"""One key for each party, generated for every test run."""

from pathlib import Path

from contracts.context import (
    Key,
    KeySet,
    generate_key,
    key_set_document,
    parse_key_set,
)
from contracts.subjects import ADMIN_AUDIENCE, HOST_AUDIENCE, RUNNER_AUDIENCE

RUNNER_JWK = generate_key("EdDSA", kid="runner-1", issuer="runner", audiences=[HOST_AUDIENCE])
PLATFORM_JWK = generate_key(
    "EdDSA", kid="platform-1", issuer="platform", audiences=[ADMIN_AUDIENCE]
)
OPERATOR_JWK = generate_key(
    "EdDSA", kid="operator-1", issuer="operator", audiences=[ADMIN_AUDIENCE], operator=True
)
WORKER_JWK = generate_key("EdDSA", kid="worker-1", issuer="worker", audiences=[RUNNER_AUDIENCE])
JWKS = (RUNNER_JWK, PLATFORM_JWK, OPERATOR_JWK, WORKER_JWK)
KEYS = parse_key_set(key_set_document(JWKS))
RUNNER_KEY: Key = KEYS.keys["runner-1"]
PLATFORM_KEY: Key = KEYS.keys["platform-1"]
OPERATOR_KEY: Key = KEYS.keys["operator-1"]
WORKER_KEY: Key = KEYS.keys["worker-1"]


class KeyHolder:
    """Keys that do not come from a file."""

    def current(self) -> KeySet:
        return KEYS


def write_key_set(file: Path) -> Path:
    """Write all keys as a file for a process to read."""
    file.write_bytes(key_set_document(JWKS))
    return file

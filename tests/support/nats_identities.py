"""Identities of NATS made for tests: nkeys, user JWTs under an operator, client certificates."""

import json
import os
import time
from pathlib import Path
from typing import Any

import nkeys  # type: ignore[import-untyped]  # it has no types
from msgspec import Struct

from contracts import base64url

OPERATOR, ACCOUNT, USER = (
    nkeys.PREFIX_BYTE_OPERATOR,
    nkeys.PREFIX_BYTE_ACCOUNT,
    nkeys.PREFIX_BYTE_USER,
)


class NatsIdentity(Struct, frozen=True):
    """An nkey: its seed, and its public part."""

    seed: str
    public: str


def new_identity(prefix: int = USER) -> NatsIdentity:
    """Return a new nkey of an operator, account or user."""
    seed: bytes = nkeys.encode_seed(os.urandom(32), prefix)
    public: bytes = nkeys.from_seed(bytearray(seed)).public_key
    return NatsIdentity(seed.decode(), public.decode())


def sign_jwt(issuer: NatsIdentity, subject: NatsIdentity, name: str, nats: dict[str, Any]) -> str:
    """Return a JWT as ``nsc`` makes it."""
    claims = {
        "jti": name,
        "iat": int(time.time()) - 5,
        "iss": issuer.public,
        "sub": subject.public,
        "name": name,
        "nats": {**nats, "version": 2},
    }
    parts = [{"typ": "JWT", "alg": "ed25519-nkey"}, claims]
    message = b".".join(base64url.encode(json.dumps(part).encode()) for part in parts)
    signature: bytes = nkeys.from_seed(bytearray(issuer.seed.encode())).sign(message)
    return (message + b"." + base64url.encode(signature)).decode()


def write_operator_mode(directory: Path) -> tuple[Path, Path]:
    """Write a server's configuration with an operator, and a ``.creds`` file of a user of it."""
    operator, account, user = new_identity(OPERATOR), new_identity(ACCOUNT), new_identity()
    operator_jwt = sign_jwt(operator, operator, "operator", {"type": "operator"})
    limits = {"subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "conn": -1}
    account_jwt = sign_jwt(
        operator,
        account,
        "account",
        {"type": "account", "limits": {**limits, "leaf": -1, "wildcards": True}},
    )
    user_limits = {"subs": -1, "data": -1, "payload": -1}
    user_jwt = sign_jwt(account, user, "user", {"type": "user", **user_limits})
    config, creds = directory / "operator.conf", directory / "user.creds"
    config.write_text(
        f"operator: {operator_jwt}\nresolver: MEMORY\n"
        f"resolver_preload: {{ {account.public}: {account_jwt} }}\n"
    )
    creds.write_text(
        f"-----BEGIN NATS USER JWT-----\n{user_jwt}\n------END NATS USER JWT------\n\n"
        "************************* IMPORTANT *************************\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{user.seed}\n------END USER NKEY SEED------\n"
    )
    creds.chmod(0o600)
    return config, creds

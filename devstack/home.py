"""What a stack keeps in its directory: passwords of NATS, signing keys, ports."""

import secrets
from collections.abc import Mapping
from pathlib import Path

import msgspec

from contracts.context import generate_key, key_set_document, public_jwk
from contracts.subjects import ADMIN_AUDIENCE, HOST_AUDIENCE, RUNNER_AUDIENCE
from devstack.embedded.servers import free_port, is_free
from devstack.progress import detail

NATS_USERS = ("service", "runner", "operator", "platform", "console", "sys")
KEY_PURPOSES = {
    "runner": ("runner", HOST_AUDIENCE),
    "worker": ("ext-scheduler", RUNNER_AUDIENCE),
    "operator": ("operator", ADMIN_AUDIENCE),
    "console": ("console", ADMIN_AUDIENCE),
}
"""Issuer and audience by file name of the private key."""


def nats_passwords(home: Path) -> dict[str, str]:
    """Return a password per user of nats.conf, kept in ``home``.

    The syntax of nats.conf requires a leading letter.
    """
    new = {user: f"p{secrets.token_hex(16)}" for user in NATS_USERS}
    return _kept(home / "passwords.json", new)


def _kept(file: Path, new: dict[str, str]) -> dict[str, str]:
    """Return the values of ``file``, and those of ``new`` that it lacks, which are added to it."""
    known = msgspec.json.decode(file.read_bytes(), type=dict[str, str]) if file.exists() else {}
    values = new | known
    file.touch(mode=0o600)
    file.write_bytes(msgspec.json.encode(values))
    return values


def nats_user(user: str, passwords: Mapping[str, str]) -> dict[str, str]:
    """Return the settings with which a process connects as ``user``."""
    return {
        "nats_user": user,
        "nats_password": passwords[user],
        "nats_inbox_prefix": f"_INBOX_{user}",
    }


def write_keys(home: Path) -> None:
    """Write one private key set per purpose, and the public key set of all verifiers.

    Those that a directory has are kept.
    """
    if all((home / f"{name}.json").exists() for name in (*KEY_PURPOSES, "keys")):
        return
    public = []
    for name, (issuer, audience) in KEY_PURPOSES.items():
        operator = audience == ADMIN_AUDIENCE
        key = generate_key(
            "EdDSA", kid=name, issuer=issuer, audiences=[audience], operator=operator
        )
        (home / f"{name}.json").touch(mode=0o600)
        (home / f"{name}.json").write_bytes(key_set_document([key]))
        public.append(public_jwk(key))
    (home / "keys.json").write_bytes(key_set_document(public))


class Ports:
    """Ports of 127.0.0.1 by what listens on them, the same in each run from one directory."""

    def __init__(self, home: Path) -> None:
        self._file = home / "ports.json"
        document = self._file.read_bytes() if self._file.exists() else b"{}"
        self._ports = msgspec.json.decode(document, type=dict[str, int])
        self._taken: set[str] = set()

    def take(self, name: str) -> int:
        """Return the port of ``name``: that of the previous run unless something else has it."""
        known = self._ports.get(name)
        if name not in self._taken and (known is None or not is_free(known)):
            self.keep(name, free_port())
        self._taken.add(name)
        return self._ports[name]

    def keep(self, name: str, port: int) -> None:
        """Record the port that ``name`` has; print where it is not that of the previous run."""
        known = self._ports.get(name)
        if known not in {None, port}:
            detail(f"port {known} of {name} is taken by another program: it is {port} now")
        self._ports[name] = port
        self._taken.add(name)
        self._file.write_bytes(msgspec.json.encode(self._ports))

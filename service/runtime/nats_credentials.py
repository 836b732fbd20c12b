"""Which NATS credentials are given: at most one kind, or a context of the ``nats`` command line."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from service.runtime.addresses import MalformedAddressError, parse_nats_urls
from service.runtime.settings_sources import FILE_ENCODING, GivenSetting, SettingsError

CONTEXT = "nats_context"
CONTEXT_MEMBERS = {
    "url": "nats_url",
    "user": "nats_user",
    "password": "nats_password",
    "token": "nats_token",
    "creds": "nats_creds_file",
    "nkey": "nats_nkey_file",
    "cert": "nats_tls_cert_file",
    "key": "nats_tls_key_file",
    "ca": "nats_tls_ca_file",
    "inbox_prefix": "nats_inbox_prefix",
}
"""What the members of a context set."""
UNSUPPORTED_MEMBERS = ("nsc", "user_jwt", "user_seed", "socks_proxy", "tls_first")
PATH_MEMBERS = frozenset({"creds", "nkey", "cert", "key", "ca"})
KINDS = {
    "nats_user": "nats_user",
    "nats_password": "nats_user",
    "nats_token": "nats_token",
    "nats_creds_file": "nats_creds_file",
    "nats_nkey_file": "nats_nkey_file",
}
"""The kind of credentials that a setting belongs to; a certificate may accompany any of them."""


def expand_context(
    given: Mapping[str, GivenSetting], environment: Mapping[str, str]
) -> dict[str, GivenSetting]:
    """Return the settings with those of the context that they name. Raises SettingsError.

    A context is a file that the ``nats`` command line writes: by name in its own directory, or by
    path. It holds server and credentials, so no setting may say otherwise; an inbox prefix may be
    set for it.
    """
    setting = given.get(CONTEXT)
    if setting is None or not setting.value:
        return dict(given)
    for name in (*CONTEXT_MEMBERS.values(),):
        if name in given and given[name].value and name != "nats_inbox_prefix":
            raise SettingsError(
                f"{given[name].source} and {setting.source} are both set: a context holds the"
                " server and the credentials"
            )
    home = Path(environment.get("HOME", "/"))
    file = _context_file(setting, home, environment)
    members = _read_context(file, setting)
    source = f"{setting.source}: {file}"
    from_context = {
        CONTEXT_MEMBERS[member]: GivenSetting(
            _expand_home(value, home) if member in PATH_MEMBERS else value, f"{source}: {member}"
        )
        for member, value in members.items()
    }
    return from_context | {name: value for name, value in given.items() if value.value != ""}


def check_one_kind(given: Mapping[str, GivenSetting]) -> None:
    """Raise SettingsError where credentials of several kinds are given, or half a certificate."""
    kinds = {
        KINDS[name]: given[name].source for name in KINDS if name in given and given[name].value
    }
    url = given.get("nats_url")
    if url is not None and _has_login(url):
        kinds["nats_url"] = f"user information in {url.source}"
    if len(kinds) > 1:
        first, second, *_ = kinds.values()
        raise SettingsError(f"{first} and {second} are both set: give one kind of credentials")
    certificate, key = (given.get(name) for name in ("nats_tls_cert_file", "nats_tls_key_file"))
    if bool(certificate and certificate.value) != bool(key and key.value):
        present = certificate if certificate and certificate.value else key
        assert present is not None  # noqa: S101 - one of them is
        raise SettingsError(f"{present.source}: a client certificate needs its file and its key's")


def _has_login(url: GivenSetting) -> bool:
    try:
        return parse_nats_urls(url.value).login is not None
    except MalformedAddressError:
        return False  # reported as such


def _context_file(setting: GivenSetting, home: Path, environment: Mapping[str, str]) -> Path:
    name = str(setting.value)
    if name.endswith(".json"):
        return Path(_expand_home(name, home))
    if not re.fullmatch(r"[\w.-]+", name) or ".." in name:
        raise SettingsError(f"{setting.source}: not the name of a context or the path of its file")
    base = Path(environment.get("XDG_CONFIG_HOME") or home / ".config")
    return base / "nats" / "context" / f"{name}.json"


def _read_context(file: Path, setting: GivenSetting) -> dict[str, str]:
    """Return the members of a context that are set and mean something here."""
    try:
        members: dict[str, Any] = msgspec.json.decode(
            file.read_text(encoding=FILE_ENCODING), type=dict[str, Any]
        )
    except OSError as error:
        raise SettingsError(f"{setting.source}: {file}: {error.strerror}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise SettingsError(f"{setting.source}: {file}: not a context of nats") from None
    for member in UNSUPPORTED_MEMBERS:
        if members.get(member):
            raise SettingsError(f"{setting.source}: {file}: {member} is not supported")
    known = {member: members[member] for member in CONTEXT_MEMBERS if members.get(member)}
    for member, value in known.items():
        if not isinstance(value, str):
            raise SettingsError(f"{setting.source}: {file}: {member} is not a text")
    return known


def _expand_home(path: str, home: Path) -> str:
    return str(home / path[2:]) if path.startswith("~/") else path

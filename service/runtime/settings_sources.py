"""Where settings come from: the environment, a TOML file, files that hold one secret each."""

import re
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

PREFIX = "EXT_SCHEDULER_"
FILE_VARIABLE = f"{PREFIX}CONFIG"
FILE_ENCODING = "utf-8-sig"
"""UTF-8; some editors begin a file with a byte order mark."""
_SECRET_SUFFIX = "_FILE"  # noqa: S105 - the end of a name
_FOREIGN = re.compile(
    r"EXT_SCHEDULER_(?:"
    # Kubernetes gives every container the addresses of the Services in its namespace.
    r"(?:\w+_)?SERVICE_(?:HOST|PORT(?:_\w+)?)"
    r"|(?:\w+_)?PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?"
    # The users of nats.conf, and the routes between servers.
    r"|NATS_(?:SERVICE|RUNNER(?:_\w+)?|OPERATOR|PLATFORM|CONSOLE|SYS|ROUTE)_PASSWORD"
    r")"
)
_SERVICE_ADDRESS = re.compile(r"(?:tcp|udp|sctp)://")


class SettingsError(Exception):
    """A setting is unknown, malformed or out of range; the message names it."""


class GivenSetting(Struct, frozen=True):
    """A value as it was given; ``source`` is what a message calls it."""

    value: Any
    source: str


class SettingNames(Struct, frozen=True):
    """The names of all settings, and those that are treated differently.

    An empty variable sets an ``optional`` one to nothing, and is ignored for others. ``lists`` are
    separated by commas. ``secrets`` may be given as the name of a file: ``<NAME>_FILE``.
    """

    all: Collection[str]
    optional: Collection[str]
    lists: Collection[str]
    secrets: Collection[str]


def read_environment(
    environment: Mapping[str, str], names: SettingNames
) -> dict[str, GivenSetting]:
    """Return the settings in the environment. Raises SettingsError for an unknown one.

    Variables that others put there under our prefix are ignored: those of Kubernetes for a Service
    of this name, and the passwords of nats.conf's users.
    """
    given: dict[str, GivenSetting] = {}
    for variable, text in environment.items():
        if not variable.startswith(PREFIX) or variable == FILE_VARIABLE:
            continue
        name = variable.removeprefix(PREFIX).lower()
        if _is_foreign(variable, text):
            continue
        if name in names.all:
            value = text.strip("\r\n") if name in names.secrets else text.strip()
            if name in names.lists:
                given[name] = GivenSetting(_words(value), variable)
            elif value or name in names.optional:
                given[name] = GivenSetting(value, variable)
            continue
        secret = variable.removesuffix(_SECRET_SUFFIX)
        name = secret.removeprefix(PREFIX).lower()
        if secret == variable or name not in names.secrets:
            raise SettingsError(f"{variable} is not a setting of ext-scheduler")
        if environment.get(secret):
            raise SettingsError(f"{variable} and {secret} are both set")
        given[name] = GivenSetting(_secret(variable, Path(text.strip())), variable)
    return given


def read_settings_file(file: Path, names: SettingNames) -> dict[str, GivenSetting]:
    """Return the settings in a TOML file. Raises SettingsError."""
    try:
        values = tomllib.loads(file.read_text(encoding=FILE_ENCODING))
    except OSError as error:
        raise SettingsError(f"Settings file {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"Settings file {file}: not a text in UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"Settings file {file}: not TOML: {error}") from None
    for name in values:
        if name not in names.all:
            raise SettingsError(f"Settings file {file}: {name} is not a setting of ext-scheduler")
    return {name: GivenSetting(value, f"{file}: {name}") for name, value in values.items()}


def _is_foreign(variable: str, text: str) -> bool:
    if _FOREIGN.fullmatch(variable):
        return True
    # A Service named ext-scheduler-http has its address where the setting http_port may be.
    return variable.endswith("_PORT") and _SERVICE_ADDRESS.match(text) is not None


def _secret(variable: str, file: Path) -> str:
    try:
        text = file.read_text(encoding=FILE_ENCODING).strip()
    except OSError as error:
        raise SettingsError(f"{variable}: {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{variable}: {file}: not a text file") from None
    if not text:
        raise SettingsError(f"{variable}: {file}: the file is empty")
    return text


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]

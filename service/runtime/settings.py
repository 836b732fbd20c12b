"""Settings: from an optional TOML file, then the environment (``EXT_SCHEDULER_<NAME>``)."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from service.runtime.logs import LogFormat, LogLevel

PREFIX = "EXT_SCHEDULER_"
LOWEST = {
    "http_port": 0,
    "callback_port": 0,
    "statement_cache_size": 0,
    "catchup_window_s": 0,
    "rate_window_retention_s": 60,
}
"""Where the lowest value is not 1. A rate window shorter than a minute would forget changes."""
HIGHEST = {
    "max_name_length": 128,
    "max_timezone_length": 64,
    "max_payload_depth": 200,
    "http_port": 65_535,
    "callback_port": 65_535,
}
"""What the platform's columns hold, what every reader of a payload can take, what is a port."""
WEB = {"runner_url", "platform_url"}
"""Where HTTP requests go."""
LISTS = {"reply_prefixes", "retry_delays_s", "admin_permissions"}
FILE_VARIABLE = "EXT_SCHEDULER_CONFIG"
SECRETS = {"database_url", "nats_url", "nats_password"}
"""May be given as the name of a file that holds them: ``EXT_SCHEDULER_<NAME>_FILE``."""
SECRET_SUFFIX = "_file"  # noqa: S105 -- the end of a name
_PASSWORD = re.compile(r"(?<=//)([^/@:]*:)[^/@]*(?=@)|([?&](?:ssl)?password=)[^&,]*")


class SettingsError(Exception):
    """A setting is unknown, malformed or out of range; the message names it."""


class Settings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Every setting with its default. Durations end in their unit; 0 for a port means any free one.

    Secrets are in files or in the URLs of the servers; ``redacted`` shows the rest.
    """

    database_url: str = "postgresql://localhost/ext_scheduler"
    nats_url: str = "nats://127.0.0.1:4222"
    """One server, or several of a cluster with commas between."""
    nats_user: str = ""
    nats_password: str = ""
    nats_inbox_prefix: str = "_INBOX"
    nats_tls_ca_file: str = ""
    """Who signs the certificates of `tls://` servers, where that is not a public authority."""
    reply_prefixes: tuple[str, ...] = ("_INBOX", "_R_.")

    http_host: str = "127.0.0.1"
    http_port: int = 9464
    log_format: LogFormat = "auto"
    """`auto` is text on a terminal and JSON elsewhere."""
    log_level: LogLevel = "info"
    tracing: bool = False
    """Export spans; where to is said by OpenTelemetry's own variables (`OTEL_*`)."""

    key_set_file: str = "keys.json"
    """JWK Set that contexts are verified with; read again when it changes."""
    runner_key_file: str = "worker.json"
    """The private JWK that workers sign execute requests with."""

    runner_url: str = ""
    """Base URL of the Runner that the bridge passes execute requests to."""
    callback_host: str = "127.0.0.1"
    callback_port: int = 9465
    """Where the bridge answers a Runner's callbacks; used when there is a token file."""
    callback_token_file: str = ""
    """The secret that Runner and bridge share, as `x-runner-auth`."""
    host_key_file: str = ""
    """The private key set that the bridge signs a Runner's host calls with."""
    platform_url: str = ""
    """Where the bridge forwards all other callbacks of the Runner to."""

    admin_key_file: str = "admin.json"
    """The private key set that the command line signs admin requests with."""
    admin_subject: str = ""
    """Who the audit says it was; empty for the login name."""
    admin_tenant: str = ""
    """The tenant acted for; empty for all where the key is an operator's."""
    admin_permissions: tuple[str, ...] = ("extension:read", "extension:write")

    pool_size: int = 16
    worker_pool_size: int = 12
    pool_acquire_timeout_ms: int = 900
    lock_timeout_ms: int = 5_000
    statement_timeout_ms: int = 15_000
    statement_cache_size: int = 256

    concurrency: int = 64
    waiting: int = 1_024
    changes_per_install: int = 2
    drain_timeout_s: int = 35

    runner_timeout_s: int = 30
    """The Runner's own limit on a call; the outer timeouts follow from it."""
    in_flight: int = 500
    heartbeat_s: int = 30
    retry_delays_s: tuple[int, ...] = (5, 20, 80)
    catchup_window_s: int = 3_600
    """How old a missed slot may be to be fired still; 0 means never."""
    catchup_spread_s: int = 30
    run_retention_days: int = 30
    audit_retention_days: int = 400
    idempotency_retention_h: int = 24
    queue_log_retention_h: int = 24
    rate_window_retention_s: int = 60

    min_interval_minutes: int = 5
    max_schedules: int = 50
    changes_per_minute: int = 10
    manual_runs_per_minute: int = 5
    max_cron_length: int = 128
    max_timezone_length: int = 64
    max_name_length: int = 128
    max_endpoint_length: int = 256
    max_payload_length: int = 100_000
    max_payload_depth: int = 64
    declared_is_granted: bool = False

    def redacted(self) -> dict[str, Any]:
        """Return the settings as plain values, passwords replaced."""
        shown: dict[str, Any] = msgspec.to_builtins(self)
        shown["nats_password"] = "***" if self.nats_password else ""
        for name in ("database_url", "nats_url"):
            shown[name] = _PASSWORD.sub(r"\1\2***", shown[name])
        return shown

    def __repr__(self) -> str:
        return f"Settings({self.redacted()})"


def load(environment: Mapping[str, str], file: Path | None = None) -> Settings:
    """Read the settings; the environment wins over the file.

    Lists are comma-separated in the environment; a secret may be in a file that a variable ending
    in ``_FILE`` names. Raises SettingsError.
    """
    file = file or (Path(environment[FILE_VARIABLE]) if environment.get(FILE_VARIABLE) else None)
    values: dict[str, Any] = _from_file(file) if file else {}
    values |= _from_environment(environment)
    try:
        settings = msgspec.convert(values, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsError(f"Settings: {error}") from None
    _check(settings)
    return settings


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for variable, text in environment.items():
        name = variable.removeprefix(PREFIX).lower()
        if not variable.startswith(PREFIX) or variable == FILE_VARIABLE:
            continue
        secret = name.removesuffix(SECRET_SUFFIX)
        if name in Settings.__struct_fields__:
            found[name] = _words(text) if name in LISTS else text
        elif name != secret and secret in SECRETS:
            if variable.removesuffix(SECRET_SUFFIX.upper()) in environment:
                raise SettingsError(f"{variable} and {PREFIX}{secret.upper()} are both set")
            found[secret] = _secret(variable, Path(text))
        else:
            raise SettingsError(f"{variable} is not a setting of ext-scheduler")
    return found


def _secret(variable: str, file: Path) -> str:
    try:
        text = file.read_text().strip()
    except OSError as error:
        raise SettingsError(f"{variable}: {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{variable}: {file}: not a text file") from None
    if not text:
        raise SettingsError(f"{variable}: {file}: the file is empty")
    return text


def _from_file(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text())
    except OSError as error:
        raise SettingsError(f"Settings file {file}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"Settings file {file}: {error}") from None


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _check(settings: Settings) -> None:
    for name in sorted(WEB):
        url = getattr(settings, name)
        if url and not re.match(r"https?://[^/]", url):
            raise SettingsError(f"Setting {name}: must begin with http:// or https://")
    for name in Settings.__struct_fields__:
        value = getattr(settings, name)
        if not isinstance(value, int) or isinstance(value, bool):
            continue
        lowest, highest = LOWEST.get(name, 1), HIGHEST.get(name, value)
        if value < lowest:
            raise SettingsError(f"Setting {name}: must be at least {lowest}, not {value}")
        if value > highest:
            raise SettingsError(f"Setting {name}: must be at most {highest}, not {value}")

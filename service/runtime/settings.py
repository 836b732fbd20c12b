"""Settings: from an optional TOML file, then the environment (``EXT_SCHEDULER_<NAME>``)."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_type_hints

import msgspec
from msgspec import Struct

from service.runtime.addresses import (
    MASK,
    MalformedAddressError,
    check_database_url,
    check_http_url,
    parse_nats_urls,
    redact_database_url,
    redact_http_url,
    redact_nats_urls,
)
from service.runtime.logs import LogFormat, LogLevel
from service.runtime.nats_credentials import check_one_kind, expand_context
from service.runtime.settings_sources import (
    FILE_VARIABLE,
    PREFIX,
    GivenSetting,
    SettingNames,
    SettingsError,
    read_environment,
    read_settings_file,
)

__all__ = ["FILE_VARIABLE", "PREFIX", "Settings", "SettingsError", "load"]

MIN_VALUES = {
    "http_port": 0,
    "callback_port": 0,
    "console_port": 0,
    "statement_cache_size": 0,
    "disable_after": 0,
    "catchup_window_s": 0,
    "spread_s": 0,
    "rate_window_retention_s": 60,
}
"""Where the lowest value is not 1. A rate window shorter than a minute would forget changes."""
MAX_VALUES = {
    "max_name_length": 128,
    "max_timezone_length": 64,
    "max_payload_depth": 200,
    "http_port": 65_535,
    "callback_port": 65_535,
    "console_port": 65_535,
}
"""What the platform's columns hold, what every reader of a payload can take, what is a port."""
ADDRESS_CHECKS: Mapping[str, Callable[[str], object]] = {
    "database_url": check_database_url,
    "nats_url": parse_nats_urls,
    "runner_url": check_http_url,
    "platform_url": check_http_url,
    "console_url": check_http_url,
}
REDACTIONS: Mapping[str, Callable[[str], str]] = {
    "database_url": redact_database_url,
    "nats_url": redact_nats_urls,
    "runner_url": redact_http_url,
    "platform_url": redact_http_url,
    "console_url": redact_http_url,
    "nats_password": lambda _: MASK,
    "nats_token": lambda _: MASK,
}
"""How a setting that may hold a secret is shown."""
LIST_SETTINGS = {"reply_prefixes", "retry_delays_s", "admin_permissions", "console_proxies"}
SECRET_SETTINGS = {"database_url", "nats_url", "nats_password", "nats_token"}
"""May be given as the name of a file that holds them: ``EXT_SCHEDULER_<NAME>_FILE``."""


class Settings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Every setting with its default. Durations end in their unit; 0 for a port means any free one.

    Secrets are in files or in the URLs of the servers; ``redacted`` shows the rest.
    """

    database_url: str = "postgresql://localhost/ext_scheduler"
    """PostgreSQL's address, with user and password."""
    nats_url: str = "nats://127.0.0.1:4222"
    """One NATS server, or several of a cluster separated by commas."""
    nats_user: str = ""
    """With the shipped `nats.conf`: `service`; for bridges `runner`."""
    nats_password: str = ""
    """Password of `nats_user`."""
    nats_token: str = ""
    """A token instead of a user."""
    nats_creds_file: str = ""
    """A `.creds` file (user JWT and nkey seed) instead of a user; read at the start."""
    nats_nkey_file: str = ""
    """A file with the nkey seed of a user, instead of a user; read at the start."""
    nats_context: str = ""
    """A context of the `nats` command line, by name or as the path of its `.json` file, instead of
    server and credentials."""
    nats_inbox_prefix: str = "_INBOX"
    """With the shipped `nats.conf`: `_INBOX_service`, `_INBOX_runner`."""
    nats_tls_ca_file: str = ""
    """Certificate authority of `tls://` servers, if it is not a public one."""
    nats_tls_cert_file: str = ""
    """Client certificate, for servers with `verify: true`."""
    nats_tls_key_file: str = ""
    """Private key of the client certificate, without a passphrase."""
    reply_prefixes: tuple[str, ...] = ("_INBOX", "_R_.")
    """Prefixes that reply subjects must have."""

    http_host: str = "127.0.0.1"
    """Address of health and metrics; in a container `0.0.0.0`; `unix:PATH` for a socket."""
    http_port: int = 9464
    """Port of health and metrics; 0 for any free one."""
    log_format: LogFormat = "auto"
    """`json`, `text`, or `auto`: text on a terminal, else JSON."""
    log_level: LogLevel = "info"
    """`debug`, `info`, `warning` or `error`."""
    tracing: bool = False
    """Export spans; OpenTelemetry's own variables (`OTEL_*`) say where to."""

    key_set_file: str = "keys.json"
    """The JWK Set that contexts are verified with; read again when it changes."""
    runner_key_file: str = "worker.json"
    """The private key set that workers sign execute requests with."""

    runner_url: str = ""
    """Bridge: base URL of the Runner."""
    runner_pool: str = ""
    """Bridge: the pool of Runners that it belongs to; empty for the default one."""
    callback_host: str = "127.0.0.1"
    """Bridge: address on which a Runner's callbacks are answered."""
    callback_port: int = 9465
    """Bridge: port on which they are answered."""
    callback_token_file: str = ""
    """Bridge: the secret that Runner and bridge share (`x-runner-auth`); without it no callbacks.
"""
    host_key_file: str = ""
    """Bridge: the private key set that host calls are signed with."""
    platform_url: str = ""
    """Bridge: where all other callbacks are forwarded to."""

    admin_key_file: str = "admin.json"
    """Command line: the private key set that admin requests are signed with."""
    admin_subject: str = ""
    """Command line: the name in the audit; empty for the login name."""
    admin_tenant: str = ""
    """Command line: the tenant acted for; empty for all with an operator's key."""
    admin_permissions: tuple[str, ...] = ("extension:read", "extension:write")
    """Command line: permissions to request with."""

    console_host: str = "127.0.0.1"
    """Console: address of its pages."""
    console_port: int = 9466
    """Console: port of its pages."""
    console_url: str = ""
    """Console: its address as browsers reach it; with `https://` cookies are `Secure`."""
    console_key_file: str = "console.json"
    """Console: the private key set that its admin requests are signed with."""
    console_trace_url: str = ""
    """Console: where a trace is looked at; `{trace}` in it stands for the id of the trace."""
    console_user_header: str = ""
    """Console: the header in which a proxy names who it has signed in; without it links sign in."""
    console_proxies: tuple[str, ...] = ()
    """Console: addresses or networks of the proxies that may say so."""
    console_users_file: str = ""
    """Console: TOML table of users for a proxy: `[users.NAME]` with `tenant` and `permissions`."""

    pool_size: int = 16
    """Database connections of a responder."""
    worker_pool_size: int = 12
    """Database connections of a worker."""
    pool_acquire_timeout_ms: int = 900
    """How long a request waits for a connection before `UNAVAILABLE`."""
    lock_timeout_ms: int = 5_000
    """Timeout of waiting for a row lock."""
    statement_timeout_ms: int = 15_000
    """Timeout of a statement."""
    statement_cache_size: int = 256
    """Prepared statements per connection; 0 behind a transaction pooler."""

    concurrency: int = 64
    """Requests that a responder processes concurrently."""
    waiting: int = 1_024
    """Requests that may wait beyond those."""
    changes_per_install: int = 2
    """Concurrent changes of one install in the database, per responder."""
    drain_timeout_s: int = 35
    """Time for work in flight after SIGTERM."""

    runner_timeout_s: int = 30
    """The Runner's own limit on a call; the outer timeouts follow from it."""
    in_flight: int = 500
    """Concurrent calls of a worker."""
    heartbeat_s: int = 30
    """Time without a heartbeat after which a worker's jobs are taken over."""
    retry_delays_s: tuple[int, ...] = (5, 20, 80)
    """Delay before each further attempt; there is one more attempt than delays."""
    failing_after: int = 3
    """Failed runs in a row after which a schedule is reported as failing."""
    disable_after: int = 0
    """Failed runs in a row after which a schedule is disabled; 0 means never."""
    webhooks_file: str = ""
    """Worker: TOML list of webhooks to which failing schedules are reported."""
    catchup_window_s: int = 3_600
    """Greatest age of a missed slot that is still fired; 0 means never."""
    catchup_spread_s: int = 30
    """Period over which catch-up is spread."""
    spread_s: int = 0
    """Period over which the starts of one slot are spread, the same in all roles; 0 means none."""
    run_retention_days: int = 30
    """Retention of run records."""
    audit_retention_days: int = 400
    """Retention of audit entries."""
    idempotency_retention_h: int = 24
    """Period in which a change may be repeated under its id."""
    queue_log_retention_h: int = 24
    """Retention of pgqueuer's log."""
    rate_window_retention_s: int = 60
    """Retention of a rate window without changes, at least 60."""

    min_interval_minutes: int = 5
    """Shortest time between two slots of a schedule."""
    max_schedules: int = 50
    """Schedules per install, disabled ones included."""
    changes_per_minute: int = 10
    """Changes per install that an extension may make."""
    manual_runs_per_minute: int = 5
    """Manual runs per tenant."""
    max_cron_length: int = 128
    """Characters of a cron expression."""
    max_timezone_length: int = 64
    """Characters of a time zone, at most 64."""
    max_name_length: int = 128
    """Characters of a name, at most 128."""
    max_endpoint_length: int = 256
    """Characters of an endpoint selector."""
    max_payload_length: int = 100_000
    """Characters of a payload as compact JSON."""
    max_payload_depth: int = 64
    """Nesting levels of a payload, the root being 1; at most 200."""
    declared_is_granted: bool = False
    """Treat a version's declared capabilities as granted."""

    def redacted(self) -> dict[str, Any]:
        """Return the settings as plain values, passwords replaced."""
        values: dict[str, Any] = msgspec.to_builtins(self)
        shown = {name: redact(values[name]) for name, redact in REDACTIONS.items() if values[name]}
        return values | shown

    def __repr__(self) -> str:
        return f"Settings({self.redacted()})"


def load(environment: Mapping[str, str], file: Path | None = None) -> Settings:
    """Read the settings; the environment wins over the file.

    Lists are comma-separated in the environment; a secret may be in a file that a variable ending
    in ``_FILE`` names. Raises SettingsError.
    """
    file = file or (Path(environment[FILE_VARIABLE]) if environment.get(FILE_VARIABLE) else None)
    given = read_settings_file(file, NAMES) if file else {}
    given |= read_environment(environment, NAMES)
    given = expand_context(given, environment)
    check_one_kind(given)
    types = get_type_hints(Settings)
    settings = Settings(**{name: _convert(types[name], given[name]) for name in given})
    _check(settings, given)
    return settings


NAMES = SettingNames(
    all=Settings.__struct_fields__,
    optional={name for name, value in msgspec.to_builtins(Settings()).items() if value == ""},
    lists=LIST_SETTINGS,
    secrets=SECRET_SETTINGS,
)


def _convert(type_: Any, setting: GivenSetting) -> Any:  # noqa: ANN401 - of that type
    try:
        return msgspec.convert(setting.value, type_, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{setting.source}: {error}") from None


def _check(settings: Settings, given: Mapping[str, GivenSetting]) -> None:
    for name, setting in given.items():
        value = getattr(settings, name)
        if name in ADDRESS_CHECKS and value:
            try:
                ADDRESS_CHECKS[name](value)
            except MalformedAddressError as error:
                raise SettingsError(f"{setting.source}: {error}") from None
        if not isinstance(value, int) or isinstance(value, bool):
            continue
        lowest, highest = MIN_VALUES.get(name, 1), MAX_VALUES.get(name, value)
        if value < lowest:
            raise SettingsError(f"{setting.source}: must be at least {lowest}, not {value}")
        if value > highest:
            raise SettingsError(f"{setting.source}: must be at most {highest}, not {value}")

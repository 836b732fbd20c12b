"""A client of the admin operations: one connection, signed requests, errors as exit statuses."""

import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import msgspec
from msgspec import Struct, structs

from contracts.admin import ADMIN_OPS, AdminOperation
from contracts.context import ALL_TENANTS, InvalidKeySet, Key, parse_key_set, signing_key
from contracts.errors import Code, Outcome, ServiceError
from contracts.subjects import ADMIN_AUDIENCE
from service.cli import files, terminal
from service.cli.admin.field_help import field_help
from service.cli.admin.lean_imports import import_nats
from service.cli.errors import EXIT_UNAVAILABLE, EXIT_USAGE, STATUS_OF, CommandError
from service.cli.login_name import login_name
from service.cli.output import print_json, progress
from service.cli.time_display import TimeDisplay, read_display
from service.runtime.settings import Settings

if TYPE_CHECKING:
    from runner_bridge.requests import Principal, SignedRequests
    from service.bus.connection import Bus

CONNECT_TIMEOUT_S = 3.0
REQUEST_TIMEOUT_S = 10
BULK_REQUEST_TIMEOUT_S = 60
BULK_OPERATIONS = {
    "uninstall",
    "purgeTenant",
    "adopt",
    "reconcile",
    "backfillEndpoints",
    "exportTenant",
    "importTenant",
    "applySchedules",
}
"""Operations that work on any number of rows."""


class AdminOptions(Struct, frozen=True, kw_only=True):
    """Options common to all admin commands.

    ``tenant`` is empty where none was given; ``timeout`` is in seconds, 0 for the default.
    """

    key_file: Path
    subject: str
    tenant: str
    permissions: tuple[str, ...]
    timeout: int
    request_id: UUID | None
    as_json: bool
    times: TimeDisplay = TimeDisplay()


class AdminClient:
    """Calls admin operations over one open connection."""

    def __init__(self, options: AdminOptions, key: Key, bus: "Bus") -> None:
        self.options = options
        self._key = key
        self.bus = bus
        self._request_id = options.request_id

    @property
    def acts_for_all(self) -> bool:
        """Return whether the key may act for all tenants."""
        return self._key.operator

    async def call(self, op: str, fields: Mapping[str, Any], activity: str = "") -> Any:  # noqa: ANN401 - the operation's output
        """Call an operation with wire ``fields``; return its output, which may be negative.

        ``activity`` is what a terminal shows while waiting. Raises CommandError on a service error.
        """
        operation = ADMIN_OPS[op]
        fields = self._with_tenant(operation, fields)
        try:
            async with progress(lambda: activity or f"waiting for {op}"):
                return await self._requests(op).ask(
                    self._principal(operation, fields),
                    op,
                    fields,
                    operation.output,
                    jti=self._jti(operation, fields),
                )
        except ServiceError as error:
            raise self._command_error(op, error) from None

    def _requests(self, op: str) -> "SignedRequests":
        from runner_bridge.requests import (  # noqa: PLC0415 - see open_client
            RequestSettings,
            SignedRequests,
        )

        default = BULK_REQUEST_TIMEOUT_S if op in BULK_OPERATIONS else REQUEST_TIMEOUT_S
        timeout = float(self.options.timeout or default)
        settings = RequestSettings(attempt_timeout_s=timeout, total_timeout_s=timeout)
        return SignedRequests(self.bus.client, lambda: self._key, settings)

    def _jti(self, operation: AdminOperation, fields: Mapping[str, Any]) -> UUID:
        """Use --request-id for the first change; generate an id for any other request."""
        if self._request_id is None or not operation.mutates or fields.get("dryRun"):
            return uuid4()
        request_id, self._request_id = self._request_id, None
        return request_id

    def _with_tenant(
        self, operation: AdminOperation, fields: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        tenant = self.options.tenant
        known = {field.encode_name for field in structs.fields(operation.input)}
        if "tenantId" not in known or "tenantId" in fields or tenant in {"", ALL_TENANTS}:
            return fields
        return {**fields, "tenantId": tenant}

    def _principal(self, operation: AdminOperation, fields: Mapping[str, Any]) -> "Principal":
        from runner_bridge.requests import Principal  # noqa: PLC0415 - see open_client

        wide = operation.more_for_operators or not self.options.tenant
        if operation.operator_only or (self._key.operator and wide):
            tenant = ALL_TENANTS
        else:
            tenant = self.options.tenant or fields.get("tenantId", "")
        if not tenant:
            raise CommandError(
                "missing --tenant (or EXT_SCHEDULER_ADMIN_TENANT); only an operator's key may"
                " omit it",
                EXIT_USAGE,
            )
        return Principal(
            audience=ADMIN_AUDIENCE,
            sub=self.options.subject,
            tenant_id=tenant,
            permissions=self.options.permissions,
        )

    def _command_error(self, op: str, error: ServiceError) -> CommandError:
        if self.options.as_json:
            print_json(error.body())
        denied = str(self.bus.client.last_error or "")
        if "permissions violation for publish" in denied.lower():
            message = f"this NATS user may not call {op}: {denied.removeprefix('nats: ')}"
            return CommandError(message, STATUS_OF[Code.DENIED])
        message = describe(
            error.code,
            _join_field_errors(error.field_errors, op) or error.message,
            error.retry_after_ms,
        )
        if error.code is Code.UNAUTHORIZED:
            message += (
                f": the service does not accept key {self._key.kid!r}"
                " (is it in the service's key set, and are the clocks in sync?)"
            )
        if error.code is Code.UNAVAILABLE and ADMIN_OPS[op].mutates:
            message += f"; safe to repeat with --request-id {error.request_id}"
        return CommandError(message, STATUS_OF[error.code])


def outcome_error(outcome: Outcome, op: str = "") -> CommandError:
    """Return the error that a negative outcome of an operation ends with."""
    code = outcome.code or Code.INTERNAL
    message = _join_field_errors(outcome.field_errors, op) or outcome.error or ""
    return CommandError(describe(code, message, outcome.retry_after_ms), STATUS_OF[code])


def _join_field_errors(errors: Mapping[str, str] | None, op: str) -> str:
    return "; ".join(
        f"{field}: {text}{_expected(op, field, text)}" for field, text in (errors or {}).items()
    )


def _expected(op: str, field: str, text: str) -> str:
    """Return what a field takes, where the service says no more than that this is none."""
    taken = field_help(op, field).removesuffix(".")
    return f" (expected: {taken})" if taken and text == f"Invalid {field}" else ""


def describe(code: Code, message: str, retry_after_ms: int | None) -> str:
    """Return a service error as one line."""
    retry = f", retry in {retry_after_ms / 1000:.0f} s" if retry_after_ms else ""
    return f"{message}{retry} ({code.value})"


def read_options(settings: Settings, arguments: Mapping[str, Any]) -> AdminOptions:
    """Read the common options from the arguments, falling back to the settings."""
    subject = arguments["subject"] or settings.admin_subject or login_name()
    return AdminOptions(
        key_file=arguments["key"] or Path(settings.admin_key_file),
        subject=subject,
        tenant=arguments["tenant"] or settings.admin_tenant,
        permissions=tuple(arguments["permission"] or settings.admin_permissions),
        timeout=arguments["timeout"] or 0,
        request_id=arguments["request_id"],
        as_json=arguments["as_json"],
        times=read_display(
            utc=bool(arguments.get("utc")),
            zone=arguments.get("zone") or "",
            is_terminal=terminal.is_terminal(),
        ),
    )


@asynccontextmanager
async def open_client(settings: Settings, options: AdminOptions) -> AsyncIterator[AdminClient]:
    """Connect to NATS, and disconnect at the end. Raises CommandError when that is impossible."""
    import_nats(settings.nats_url)
    # Imported here, with the client library, which takes longest: not for the help.
    from service.bus.connection import BusUnavailableError, connect  # noqa: PLC0415 - see above
    from service.runtime.bus_settings import bus_settings  # noqa: PLC0415 - see above

    # A failure ends the program with one line; the library's log lines would only repeat it.
    logging.getLogger().addHandler(logging.NullHandler())
    key = load_admin_key(options.key_file)
    connection_settings = structs.replace(
        bus_settings(settings, "ext-scheduler admin"), connect_timeout=CONNECT_TIMEOUT_S
    )
    try:
        async with progress(lambda: f"connecting to NATS at {settings.redacted()['nats_url']}"):
            bus = await connect(connection_settings)
    except BusUnavailableError as error:
        raise CommandError(str(error), EXIT_UNAVAILABLE) from None
    try:
        yield AdminClient(options, key, bus)
    finally:
        await bus.close()


def load_admin_key(file: Path) -> Key:
    """Return the key of a file that signs admin requests. Raises CommandError."""
    try:
        return signing_key(parse_key_set(files.read(file)), ADMIN_AUDIENCE)
    except InvalidKeySet as error:
        raise CommandError(f"{file}: {error}", EXIT_USAGE) from None


def to_builtins(value: object) -> Any:  # noqa: ANN401 - plain values
    """Return a Struct as the plain values that its JSON holds."""
    return msgspec.to_builtins(value)

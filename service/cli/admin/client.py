"""Asking the service as an administrator: who asks, over which connection, and what went wrong."""

import getpass
import logging
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec
from msgspec import Struct, structs

from contracts.admin import ADMIN_OPS, AdminOperation
from contracts.context import ALL_TENANTS, InvalidKeySet, Key, parse_key_set, signing_key
from contracts.errors import Code, Outcome, ServiceError
from contracts.subjects import ADMIN_AUDIENCE
from runner_bridge.requests import Principal, RequestSettings, SignedRequests
from service.bus.connection import Bus, BusUnavailableError, connect
from service.cli import files
from service.cli.errors import EXIT_UNAVAILABLE, EXIT_USAGE, STATUS_OF, CommandError
from service.cli.output import progress, put_json
from service.runtime.resources import bus_settings
from service.runtime.settings import Settings

CONNECT_PATIENCE_S = 3.0
USUAL_PATIENCE_S = 10
LONG_PATIENCE_S = 60
LONG = {
    "uninstall",
    "purgeTenant",
    "adopt",
    "reconcile",
    "backfillEndpoints",
    "exportTenant",
    "importTenant",
}
"""Operations that may have much to do."""


class Caller(Struct, frozen=True, kw_only=True):
    """Who asks and how.

    ``tenant`` is empty where none was said; ``timeout`` in seconds, 0 for the usual.
    """

    key_file: Path
    subject: str
    tenant: str
    permissions: tuple[str, ...]
    timeout: int
    request_id: UUID | None
    as_json: bool


class Asking:
    """Admin operations over one open connection."""

    def __init__(self, caller: Caller, key: Key, bus: Bus) -> None:
        self.caller = caller
        self._key = key
        self._bus = bus
        self._request_id = caller.request_id

    async def ask(self, op: str, fields: Mapping[str, Any], doing: str = "") -> Any:  # noqa: ANN401 - the operation's output
        """Ask for an operation with wire ``fields``; return its output.

        Raises CommandError when there is none, or a negative one that needs no further words.
        """
        operation = ADMIN_OPS[op]
        fields = self._with_tenant(operation, fields)
        try:
            async with progress(lambda: doing or f"waiting for {op}"):
                return await self._requests(op).ask(
                    self._principal(operation, fields),
                    op,
                    fields,
                    operation.output,
                    jti=self._jti(operation, fields),
                )
        except ServiceError as error:
            raise self._refused(op, error) from None

    def _requests(self, op: str) -> SignedRequests:
        patience = self.caller.timeout or (LONG_PATIENCE_S if op in LONG else USUAL_PATIENCE_S)
        settings = RequestSettings(
            attempt_timeout_s=float(patience), total_timeout_s=float(patience)
        )
        return SignedRequests(self._bus.client, lambda: self._key, settings)

    def _jti(self, operation: AdminOperation, fields: Mapping[str, Any]) -> UUID:
        """The id that was asked for is for the first change; all else has its own."""
        if self._request_id is None or not operation.mutates or fields.get("dryRun"):
            return uuid4()
        chosen, self._request_id = self._request_id, None
        return chosen

    def _with_tenant(
        self, operation: AdminOperation, fields: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        tenant = self.caller.tenant
        known = {field.encode_name for field in structs.fields(operation.input)}
        if "tenantId" not in known or "tenantId" in fields or tenant in {"", ALL_TENANTS}:
            return fields
        return {**fields, "tenantId": tenant}

    def _principal(self, operation: AdminOperation, fields: Mapping[str, Any]) -> Principal:
        if operation.operator_only or (self._key.operator and not self.caller.tenant):
            tenant = ALL_TENANTS
        else:
            tenant = self.caller.tenant or fields.get("tenantId", "")
        if not tenant:
            raise CommandError(
                "which tenant? give --tenant (or EXT_SCHEDULER_ADMIN_TENANT); only an operator's"
                " key may leave it out",
                EXIT_USAGE,
            )
        return Principal(
            audience=ADMIN_AUDIENCE,
            sub=self.caller.subject,
            tenant_id=tenant,
            permissions=self.caller.permissions,
        )

    def _refused(self, op: str, error: ServiceError) -> CommandError:
        if self.caller.as_json:
            put_json(error.body())
        denied = str(self._bus.client.last_error or "")
        if "permissions violation for publish" in denied.lower():
            message = f"this NATS user may not ask for {op}: {denied.removeprefix('nats: ')}"
            return CommandError(message, STATUS_OF[Code.DENIED])
        message = described(
            error.code, _fields_told(error.field_errors) or error.message, error.retry_after_ms
        )
        if error.code is Code.UNAUTHORIZED:
            message += (
                f": the service does not accept key {self._key.kid!r}"
                " (is it in its key set, and do the clocks agree?)"
            )
        if error.code is Code.UNAVAILABLE and ADMIN_OPS[op].mutates:
            message += f"; safe to repeat with --request-id {error.request_id}"
        return CommandError(message, STATUS_OF[error.code])


def negative(outcome: Outcome) -> CommandError:
    """What a negative outcome ends with."""
    code = outcome.code or Code.INTERNAL
    told = _fields_told(outcome.field_errors) or outcome.error or ""
    return CommandError(described(code, told, outcome.retry_after_ms), STATUS_OF[code])


def _fields_told(errors: Mapping[str, str] | None) -> str:
    return "; ".join(f"{field}: {text}" for field, text in (errors or {}).items())


def described(code: Code, message: str, retry_after_ms: int | None) -> str:
    """A refusal in one line."""
    again = f", again in {retry_after_ms / 1000:.0f} s" if retry_after_ms else ""
    return f"{message}{again} ({code.value})"


def caller(settings: Settings, given: Mapping[str, Any]) -> Caller:
    """Read who asks from the options, else from the settings."""
    subject = given["subject"] or settings.admin_subject or _login_name()
    return Caller(
        key_file=given["key"] or Path(settings.admin_key_file),
        subject=subject,
        tenant=given["tenant"] or settings.admin_tenant,
        permissions=tuple(given["permission"] or settings.admin_permissions),
        timeout=given["timeout"] or 0,
        request_id=given["request_id"],
        as_json=given["as_json"],
    )


@asynccontextmanager
async def asking(settings: Settings, who: Caller) -> AsyncIterator[Asking]:
    """Connect for the length of the block. Raises CommandError when that is not possible."""
    # A failure is told in one line, by whoever ends the program.
    logging.getLogger().addHandler(logging.NullHandler())
    key = admin_key(who.key_file)
    quick = structs.replace(
        bus_settings(settings, "ext-scheduler admin"), connect_patience=CONNECT_PATIENCE_S
    )
    try:
        async with progress(lambda: f"connecting to NATS at {quick.servers[0]}"):
            bus = await connect(quick)
    except BusUnavailableError as error:
        raise CommandError(str(error), EXIT_UNAVAILABLE) from None
    try:
        yield Asking(who, key, bus)
    finally:
        await bus.close()


def admin_key(file: Path) -> Key:
    """Return the key that a file gives for admin requests. Raises CommandError."""
    try:
        return signing_key(parse_key_set(files.read(file)), ADMIN_AUDIENCE)
    except InvalidKeySet as error:
        raise CommandError(f"{file}: {error}", EXIT_USAGE) from None


def wire(value: object) -> Any:  # noqa: ANN401 - plain values
    """Return a Struct as the plain values that JSON would have."""
    return msgspec.to_builtins(value)


def _login_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())

"""The transaction of every admin operation: permission, scope, and a change made at most once.

Equal requests wait for each other, a replay is answered from the stored result, and a request that
changes nothing is rolled back and leaves no record.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET, Struct, structs

from contracts.admin import ADMIN_OPS
from contracts.context import ALL_TENANTS
from contracts.errors import Code, ErrorBody, ServiceError
from contracts.events import EventType
from service.operations.change_context import replayed
from service.operations.context import (
    Answer,
    Call,
    OperationFunction,
    OperationResult,
    field_refusal,
    refusal,
)
from service.rules import admin_fields
from service.storage.engine.errors import is_deadlock, is_name_taken
from service.storage.platform import tenants
from service.storage.records import admin_change
from service.storage.records.admin_change import AdminChangeRecord, AuditChange
from service.storage.records.outbox import OutboxEvent

INSTALL_NOT_FOUND = "Install not found"
TENANT_NOT_FOUND = "Tenant not found"
TRIES = 3


class AdminContext(Struct, frozen=True):
    """An admin change in its transaction: the call, and the time at which it is made.

    ``log_fields`` collects whose install is changed, once it is known; the operation returns them.
    """

    call: Call
    now: datetime
    log_fields: dict[str, str]

    @property
    def scope(self) -> str | None:
        """Return the tenant that may be changed, None for any."""
        return scope_of(self.call)


class AppliedAdminChange(Struct, frozen=True, kw_only=True):
    """A change that was applied. ``install_id`` is set when it concerns exactly one install."""

    answer: Answer
    entries: Sequence[AuditChange]
    install_id: UUID | None = None
    events: Sequence[OutboxEvent] = ()


Read = Callable[[Call, Any], Awaitable[Answer]]
"""Answers a read, given the operation's valid input."""
FieldCheck = Callable[[Call, Mapping[str, Any]], Mapping[str, str]]
"""Returns field errors beyond those of the types, for the values of the right type."""
Write = Callable[[AdminContext, Any], Awaitable[AppliedAdminChange | Answer]]
"""Applies a change given its valid input, or answers without having changed anything."""
RawWrite = Callable[[AdminContext], Awaitable[AppliedAdminChange | Answer]]
"""Likewise, and validates the raw fields itself."""


def _no_errors(_: Call, __: Mapping[str, Any]) -> Mapping[str, str]:
    return {}


def read_operation(function: Read, check: FieldCheck = _no_errors) -> OperationFunction:
    """Return the operation that runs a read; ``check`` finds the errors that types cannot state."""

    async def run(call: Call) -> OperationResult:
        authorize(call)
        checked = admin_fields.check(call.raw, ADMIN_OPS[call.claims.op].input)
        errors = {**checked.errors, **check(call, checked.values)}
        if errors:
            return OperationResult(_ordered(call, field_refusal(errors)))
        if not await _names_known_tenant(call, checked.request):
            return OperationResult(refusal(Code.NOT_FOUND, TENANT_NOT_FOUND))
        return OperationResult(await function(call, checked.request))

    return run


def write_operation(function: Write, *, new_tenant: bool = False) -> OperationFunction:
    """Return the operation that runs a change on its valid input.

    Its tenant has to be known, unless the change may be the first of a ``new_tenant``.
    """

    async def apply(context: AdminContext) -> AppliedAdminChange | Answer:
        checked = admin_fields.check(context.call.raw, ADMIN_OPS[context.call.claims.op].input)
        if checked.errors:
            return field_refusal(checked.errors)
        if not new_tenant and not await _names_known_tenant(context.call, checked.request):
            return refusal(Code.NOT_FOUND, TENANT_NOT_FOUND)
        return await function(context, checked.request)

    return raw_write_operation(apply)


def raw_write_operation(function: RawWrite) -> OperationFunction:
    """Return the operation that runs a change which validates its fields itself."""

    async def run(call: Call) -> OperationResult:
        authorize(call)
        log_fields: dict[str, str] = {}
        for tries_left in reversed(range(TRIES)):
            try:
                return OperationResult(await _once(call, function, log_fields), log_fields)
            except ServiceError as error:
                return OperationResult(error, log_fields)
            except Exception as error:
                if not tries_left or not (is_deadlock(error) or is_name_taken(error)):
                    raise
        raise AssertionError("the last try returns or raises")

    return run


def authorize(call: Call) -> None:
    """Raise ServiceError DENIED unless the token's permissions cover its operation."""
    operation = ADMIN_OPS[call.claims.op]
    if operation.permission not in (call.claims.permissions or ()):
        raise ServiceError(Code.DENIED, f"Permission {operation.permission} is missing")
    if operation.operator_only and scope_of(call) is not None:
        raise ServiceError(Code.DENIED, "Only a platform operator may do this")


def scope_of(call: Call) -> str | None:
    """Return the tenant that a token acts for, None for all of them."""
    tenant_id = call.claims.tenant_id
    return None if tenant_id == ALL_TENANTS else tenant_id


def resolve_tenant(call: Call, tenant_id: str | None) -> str | None:
    """Return the tenant to look at: the requested one, else the token's own, None for all.

    Raises ServiceError DENIED when it is not the token's.
    """
    scope = scope_of(call)
    if tenant_id is not None and scope not in (None, tenant_id):
        raise ServiceError(Code.DENIED, "Token is for another tenant")
    return tenant_id if tenant_id is not None else scope


async def _names_known_tenant(call: Call, request: Struct) -> bool:
    """Return False for a request that names a tenant of which nothing is known.

    Raises ServiceError DENIED when the tenant is not the token's.
    """
    tenant_id: str | None = getattr(request, "tenant_id", None)
    if tenant_id is None:
        return True
    resolve_tenant(call, tenant_id)
    return await tenants.is_known(call.connection, tenant_id)


def make_entry(
    tenant_id: str,
    changes: Mapping[str, Any],
    install_id: UUID | None = None,
    schedule_id: UUID | None = None,
) -> AuditChange:
    """Build an audit entry."""
    return AuditChange(tenant_id, install_id, schedule_id, msgspec.json.encode(changes).decode())


def make_event(
    kind: EventType,
    tenant_id: str,
    install_id: UUID,
    data: Mapping[str, Any],
    schedule_id: UUID | None = None,
) -> OutboxEvent:
    """Build an event."""
    encoded = msgspec.json.encode(data).decode()
    return OutboxEvent(
        tenant_id=tenant_id,
        install_id=install_id,
        schedule_id=schedule_id,
        type=kind.value,
        data=encoded,
    )


class _NothingChanged(Exception):
    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer


async def _once(call: Call, function: RawWrite, log_fields: dict[str, str]) -> Answer:
    claims = call.claims
    tenant_id, scope = claims.tenant_id or ALL_TENANTS, f"admin:{claims.sub}"
    try:
        async with call.connection.transaction():
            read_at, replay = await admin_change.begin(
                call.connection, tenant_id, scope, claims.jti
            )
            if replay is not None:
                return replayed(call, replay)
            now = call.policy.clock(read_at)
            change = _applied(await function(AdminContext(call, now, log_fields)))
            await admin_change.record(call.connection, _record(call, tenant_id, scope, change), now)
            return change.answer
    except _NothingChanged as unchanged:
        return _ordered(call, unchanged.answer)


def _applied(outcome: AppliedAdminChange | Answer) -> AppliedAdminChange:
    """Return the applied change; roll the transaction back when nothing was changed."""
    if not isinstance(outcome, AppliedAdminChange):
        raise _NothingChanged(outcome)
    return outcome


def _record(
    call: Call, tenant_id: str, scope: str, change: AppliedAdminChange
) -> AdminChangeRecord:
    claims = call.claims
    return AdminChangeRecord(
        tenant_id=tenant_id,
        scope=scope,
        jti=claims.jti,
        op=claims.op,
        body_sha256=claims.body_sha256,
        result=msgspec.msgpack.encode(change.answer),
        install_id=change.install_id,
        actor=f"{claims.iss}/{claims.sub}",
        entries=change.entries,
        events=change.events,
    )


def _ordered(call: Call, answer: Answer) -> Answer:
    """Return the answer with its field errors in the order of the input."""
    if not isinstance(answer, ErrorBody) or answer.field_errors is UNSET:
        return answer
    errors = admin_fields.in_order(answer.field_errors, ADMIN_OPS[call.claims.op].input)
    return structs.replace(answer, field_errors=errors, error=next(iter(errors.values())))

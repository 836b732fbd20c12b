"""The frame of every admin operation: permission, scope, and a change made at most once.

A change is one transaction: equal requests wait for each other, a replay is answered from the
record, and whatever changes nothing is rolled back and leaves no record.
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
from service.operations.context import Answer, Call, field_refusal
from service.rules import admin_fields
from service.storage.engine.errors import is_deadlock, is_name_taken
from service.storage.records import admin_change
from service.storage.records.admin_change import Entry, Record
from service.storage.records.outbox import OutboxEvent

INSTALL_NOT_FOUND = "Install not found"
TRIES = 3


class Ground(Struct, frozen=True):
    """What an admin change stands on, within its transaction."""

    call: Call
    now: datetime

    @property
    def scope(self) -> str | None:
        """The tenant that may be touched, None where it is any."""
        return scope_of(self.call)


class Made(Struct, frozen=True, kw_only=True):
    """A change that was made. ``install_id`` is what it was about, if it was about one install."""

    answer: Answer
    entries: Sequence[Entry]
    install_id: UUID | None = None
    events: Sequence[OutboxEvent] = ()


Reads = Callable[[Call, Any], Awaitable[Answer]]
"""Answers a read; is given the operation's input, right in all fields."""
MoreErrors = Callable[[Call, Mapping[str, Any]], Mapping[str, str]]
"""Field errors beyond those of the types, among the values that have the right type."""
Changes = Callable[[Ground, Any], Awaitable[Made | Answer]]
"""Makes a change, or answers without having made one."""
Judges = Callable[[Ground], Awaitable[Made | Answer]]
"""Likewise, and looks at the raw fields itself."""


def _no_more(_: Call, __: Mapping[str, Any]) -> Mapping[str, str]:
    return {}


def reading(function: Reads, more: MoreErrors = _no_more) -> Callable[[Call], Awaitable[Answer]]:
    """Make an operation of a read. ``more`` finds what the types do not tell of its fields."""

    async def run(call: Call) -> Answer:
        authorize(call)
        checked = admin_fields.check(call.raw, ADMIN_OPS[call.claims.op].input)
        errors = {**checked.errors, **more(call, checked.values)}
        if errors:
            return _ordered(call, field_refusal(errors))
        return await function(call, checked.asked)

    return run


def changing(function: Changes) -> Callable[[Call], Awaitable[Answer]]:
    """Make an operation of a change."""

    async def apply(ground: Ground) -> Made | Answer:
        checked = admin_fields.check(ground.call.raw, ADMIN_OPS[ground.call.claims.op].input)
        if checked.errors:
            return field_refusal(checked.errors)
        return await function(ground, checked.asked)

    return judging(apply)


def judging(function: Judges) -> Callable[[Call], Awaitable[Answer]]:
    """Make an operation of a change that judges its fields itself."""

    async def run(call: Call) -> Answer:
        authorize(call)
        for left in reversed(range(TRIES)):
            try:
                return await _once(call, function)
            except Exception as error:
                if not left or not (is_deadlock(error) or is_name_taken(error)):
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
    """The tenant that a token acts for, None for all of them."""
    tenant_id = call.claims.tenant_id
    return None if tenant_id == ALL_TENANTS else tenant_id


def within(call: Call, tenant_id: str | None) -> str | None:
    """The tenant to look at: the one asked for, else the token's own, None for all.

    Raises ServiceError DENIED when it is not the token's.
    """
    scope = scope_of(call)
    if tenant_id is not None and scope not in (None, tenant_id):
        raise ServiceError(Code.DENIED, "Token is for another tenant")
    return tenant_id if tenant_id is not None else scope


def entry(
    tenant_id: str,
    changes: Mapping[str, Any],
    install_id: UUID | None = None,
    schedule_id: UUID | None = None,
) -> Entry:
    """Make an audit entry."""
    return Entry(tenant_id, install_id, schedule_id, msgspec.json.encode(changes).decode())


def make_event(
    kind: EventType,
    tenant_id: str,
    install_id: UUID,
    data: Mapping[str, Any],
    schedule_id: UUID | None = None,
) -> OutboxEvent:
    """Make an event."""
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


async def _once(call: Call, function: Judges) -> Answer:
    claims = call.claims
    tenant_id, scope = claims.tenant_id or ALL_TENANTS, f"admin:{claims.sub}"
    try:
        async with call.connection.transaction():
            read_at, replay = await admin_change.begin(
                call.connection, tenant_id, scope, claims.jti
            )
            if replay is not None:
                return replayed(call, replay)
            now = call.clock(read_at)
            made = _made(await function(Ground(call, now)))
            await admin_change.record(call.connection, _record(call, tenant_id, scope, made), now)
            return made.answer
    except _NothingChanged as nothing:
        return _ordered(call, nothing.answer)


def _made(outcome: Made | Answer) -> Made:
    """Leave the transaction where nothing was changed: what was written on the way is undone."""
    if not isinstance(outcome, Made):
        raise _NothingChanged(outcome)
    return outcome


def _record(call: Call, tenant_id: str, scope: str, made: Made) -> Record:
    claims = call.claims
    return Record(
        tenant_id=tenant_id,
        scope=scope,
        jti=claims.jti,
        op=claims.op,
        body_sha256=claims.body_sha256,
        result=msgspec.msgpack.encode(made.answer),
        install_id=made.install_id,
        actor=f"{claims.iss}/{claims.sub}",
        entries=made.entries,
        events=made.events,
    )


def _ordered(call: Call, answer: Answer) -> Answer:
    """Bring field errors into the order of the input."""
    if not isinstance(answer, ErrorBody) or answer.field_errors is UNSET:
        return answer
    errors = admin_fields.in_order(answer.field_errors, ADMIN_OPS[call.claims.op].input)
    return structs.replace(answer, field_errors=errors, error=next(iter(errors.values())))

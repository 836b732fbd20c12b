"""The transaction of a host change: one lock, one replay check, one record."""

from collections.abc import Awaitable, Callable

import msgspec

from contracts.errors import ErrorBody
from service.operations.change_context import (
    AppliedChange,
    ChangeContext,
    LookupRequest,
    load_context,
    replay_scope,
    replayed,
)
from service.operations.context import Answer, Call
from service.operations.host.authorization import authorize, missing_install
from service.rules.limits import append_window
from service.storage.engine.errors import is_name_taken
from service.storage.platform import installs
from service.storage.schedules import change_lookup, sharded_changes
from service.storage.schedules.change_lookup import ChangeRecord

Apply = Callable[[ChangeContext], Awaitable[AppliedChange | ErrorBody]]


async def change_once(call: Call, tenant_id: str, request: LookupRequest, apply: Apply) -> Answer:
    """Run ``apply`` at most once per (install, jti).

    Checks in the order of the wire contract: install and capability, replay, then what ``apply``
    checks. Raises ServiceError for what keeps the change from being considered.
    """
    try:
        return await _attempt(call, tenant_id, request, apply)
    except Exception as error:
        if not is_name_taken(error):
            raise
        # Another session that locks no install took the name a moment earlier: now it is seen.
        return await _attempt(call, tenant_id, request, apply)


async def _attempt(call: Call, tenant_id: str, request: LookupRequest, apply: Apply) -> Answer:
    async with call.connection.transaction():
        install = await installs.lock(call.connection, tenant_id, call.install_id)
        if install is None:
            raise await missing_install(call)
        authorize(install, call)
        context = await load_context(call, install, request)
        if context.lookup.replay is not None:
            return replayed(call, context.lookup.replay)
        outcome = await apply(context)
        if isinstance(outcome, ErrorBody):
            return outcome
        record = sharded_changes.record if call.policy.sharded else change_lookup.record
        await record(call.connection, record_of(context, outcome))
        return outcome.answer


def record_of(context: ChangeContext, change: AppliedChange) -> ChangeRecord:
    """Return what a change leaves behind."""
    claims, install = context.call.claims, context.install
    limit = context.call.policy.limits.changes_per_minute
    return ChangeRecord(
        tenant_id=install.tenant_id,
        install_id=install.id,
        schedule_id=change.schedule_id,
        scope=replay_scope(install),
        jti=claims.jti,
        op=claims.op,
        body_sha256=claims.body_sha256,
        result=msgspec.msgpack.encode(change.answer),
        actor=f"{claims.iss}/{install.id}",
        changes=msgspec.json.encode(change.changes).decode(),
        event=change.event.value,
        data=msgspec.json.encode({"fields": sorted(change.changes)}).decode(),
        at=context.now,
        accepted=append_window(context.lookup.accepted, context.now, limit),
    )

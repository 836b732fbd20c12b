"""The frame of every host change: one transaction, one lock, one replay check, one record."""

from collections.abc import Awaitable, Callable

import msgspec

from contracts.errors import ErrorBody
from service.operations.change_context import Asked, Ground, Made, replayed, scope_of, survey
from service.operations.context import Answer, Call
from service.operations.host.authorization import absent, authorize, tenant_of
from service.rules.limits import append_window
from service.storage.engine.errors import is_name_taken
from service.storage.platform import installs
from service.storage.schedules import change_context
from service.storage.schedules.change_context import Record

Apply = Callable[[Ground], Awaitable[Made | ErrorBody]]


async def make(call: Call, asked: Asked, apply: Apply) -> Answer:
    """Run ``apply`` at most once per (install, jti).

    Checks in the order of the wire contract: install and capability, replay, then what ``apply``
    checks. Raises ServiceError for what keeps the change from being considered.
    """
    tenant_id = await tenant_of(call)
    try:
        return await _once(call, tenant_id, asked, apply)
    except Exception as error:
        if not is_name_taken(error):
            raise
        # Somebody who does not lock installs was faster by a moment: now the name is seen taken.
        return await _once(call, tenant_id, asked, apply)


async def _once(call: Call, tenant_id: str, asked: Asked, apply: Apply) -> Answer:
    async with call.connection.transaction():
        install = await installs.lock(call.connection, tenant_id, call.install_id)
        if install is None:
            raise await absent(call)
        authorize(install, call.claims, declared_is_granted=call.declared_is_granted)
        ground = await survey(call, install, asked)
        if ground.loaded.replay is not None:
            return replayed(call, ground.loaded.replay)
        outcome = await apply(ground)
        if isinstance(outcome, ErrorBody):
            return outcome
        await change_context.record(call.connection, record_of(ground, outcome), outcome.new)
        return outcome.answer


def record_of(ground: Ground, made: Made) -> Record:
    """Say what a change leaves behind."""
    call, install = ground.call, ground.install
    claims = call.claims
    return Record(
        tenant_id=install.tenant_id,
        install_id=install.id,
        schedule_id=made.schedule_id,
        scope=scope_of(install),
        jti=claims.jti,
        op=claims.op,
        body_sha256=claims.body_sha256,
        result=msgspec.msgpack.encode(made.answer),
        actor=f"{claims.iss}/{install.id}",
        changes=msgspec.json.encode(made.changes).decode(),
        event=made.event.value,
        data=msgspec.json.encode({"fields": sorted(made.changes)}).decode(),
        at=ground.now,
        accepted=append_window(ground.loaded.accepted, ground.now, call.limits.changes_per_minute),
    )

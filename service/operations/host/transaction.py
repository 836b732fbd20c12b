"""The frame of every host change: one transaction, one lock, one replay check, one record."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct

from contracts.errors import Code, ErrorBody, ServiceError
from contracts.events import EventType
from contracts.subjects import HOST_AUDIENCE
from service.operations.context import Answer, Call
from service.operations.host.authorization import absent, authorize, tenant_of
from service.rules.endpoints import Manifest, Selector, choose, read_manifest
from service.rules.limits import admit, remember
from service.storage.engine.errors import is_name_taken
from service.storage.platform import endpoints, installs
from service.storage.platform.installs import Install
from service.storage.records.replay import Replay
from service.storage.schedules import change_context
from service.storage.schedules.change_context import Loaded, Question, Record
from service.storage.schedules.rows import NewSchedule, Schedule


class Asked(Struct, frozen=True):
    """What a change wants looked up; None where its input does not say, or says it wrongly."""

    name: str | None = None
    selector: Selector | None = None
    schedule_id: UUID | None = None


class Ground(Struct, frozen=True):
    """What a change stands on, while the install's row is locked."""

    call: Call
    install: Install
    manifest: Manifest
    loaded: Loaded
    now: datetime

    def endpoint(self, selector: Selector, *, has_payload: bool) -> UUID | None:
        """Resolve a selector among the endpoints of the version the install has now."""
        return choose(selector, self.loaded.endpoints, self.manifest, has_payload=has_payload)

    def owns_endpoint(self, schedule: Schedule) -> bool:
        """Tell whether a schedule's endpoint is one of the version the install has now."""
        return schedule.endpoint_version_id == self.install.version_id


class Made(Struct, frozen=True):
    """A change that was made: its answer, and what audit entry and event say of it.

    All but ``new``, the schedule that is yet to be written: with the record, in one statement.
    """

    answer: Answer
    schedule_id: UUID
    event: EventType
    changes: Mapping[str, Any]
    new: NewSchedule | None = None


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


def admit_change(ground: Ground) -> None:
    """Raise ServiceError RATE_LIMITED when the install has made its changes for now.

    Those of administrators do not count, and are not counted.
    """
    if ground.call.claims.aud != HOST_AUDIENCE:
        return
    wait = admit(ground.loaded.accepted, ground.now, ground.call.limits.changes_per_minute)
    if wait is not None:
        raise ServiceError(Code.RATE_LIMITED, "Too many schedule changes", retry_after_ms=wait)


def replayed(call: Call, replay: Replay) -> Answer:
    """Return the stored result; raise ServiceError CONFLICT when it was for something else."""
    claims = call.claims
    if (replay.op, replay.body_sha256) != (claims.op, claims.body_sha256):
        raise ServiceError(Code.CONFLICT, "This jti was used before for another request")
    return msgspec.msgpack.decode(replay.result, type=call.output)


def question_of(call: Call, install: Install, asked: Asked) -> Question:
    """Say what to look up for a change of this install."""
    return Question(
        tenant_id=install.tenant_id,
        install_id=install.id,
        scope=_scope(install),
        jti=call.claims.jti,
        version_id=install.version_id,
        name=asked.name,
        path=None if asked.selector is None else asked.selector.path,
        schedule_id=asked.schedule_id,
    )


def ground_of(call: Call, install: Install, loaded: Loaded) -> Ground:
    """Put together what a change stands on."""
    return Ground(call, install, read_manifest(install.manifest), loaded, call.clock(loaded.now))


async def survey(call: Call, install: Install, asked: Asked) -> Ground:
    """Look everything up that a change of this locked install stands on."""
    question = question_of(call, install, asked)
    loaded = await change_context.load(call.connection, question)
    if asked.selector is not None and not loaded.materialised:
        entries = read_manifest(install.manifest).entries
        await endpoints.materialise(call.connection, install.version_id, entries)
        loaded = await change_context.load(call.connection, question)
    return ground_of(call, install, loaded)


def record_of(ground: Ground, made: Made) -> Record:
    """Say what a change leaves behind."""
    call, install = ground.call, ground.install
    claims = call.claims
    return Record(
        tenant_id=install.tenant_id,
        install_id=install.id,
        schedule_id=made.schedule_id,
        scope=_scope(install),
        jti=claims.jti,
        op=claims.op,
        body_sha256=claims.body_sha256,
        result=msgspec.msgpack.encode(made.answer),
        actor=f"{claims.iss}/{install.id}",
        changes=msgspec.json.encode(made.changes).decode(),
        event=made.event.value,
        data=msgspec.json.encode({"fields": sorted(made.changes)}).decode(),
        at=ground.now,
        accepted=remember(ground.loaded.accepted, ground.now, call.limits.changes_per_minute),
    )


def _scope(install: Install) -> str:
    return f"install:{install.id}"

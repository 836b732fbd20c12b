"""What a change stands on, and what it made: under the lock of its install, whoever asks."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct

from contracts.errors import Code, ServiceError
from contracts.events import EventType
from contracts.subjects import HOST_AUDIENCE
from service.operations.context import Answer, Call
from service.rules.endpoints import EndpointManifest, Selector, choose, read_manifest
from service.rules.limits import check_rate
from service.storage.platform import endpoints
from service.storage.platform.installs import Install
from service.storage.records.replay import Replay
from service.storage.schedules import change_context
from service.storage.schedules.change_context import Loaded, Question
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
    manifest: EndpointManifest
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


def admit_change(ground: Ground) -> None:
    """Raise ServiceError RATE_LIMITED when the install has made its changes for now.

    Those of administrators do not count, and are not counted.
    """
    if ground.call.claims.aud != HOST_AUDIENCE:
        return
    wait = check_rate(ground.loaded.accepted, ground.now, ground.call.limits.changes_per_minute)
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
        scope=scope_of(install),
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


def scope_of(install: Install) -> str:
    return f"install:{install.id}"

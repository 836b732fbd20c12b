"""What a change of an install is decided on, and what it results in."""

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
from service.operations.materialise import materialise_missing
from service.rules.endpoints import EndpointManifest, Selector, choose, read_manifest
from service.rules.limits import check_rate, too_many_changes
from service.storage.platform.installs import Install
from service.storage.records.replay import Replay
from service.storage.schedules import change_lookup, sharded_changes
from service.storage.schedules.change_lookup import ChangeLookup, LookupQuery
from service.storage.schedules.rows import NewSchedule, Schedule


class LookupRequest(Struct, frozen=True):
    """What a change needs to have looked up; None where its input lacks it, or has it wrong."""

    name: str | None = None
    selector: Selector | None = None
    schedule_id: UUID | None = None


class ChangeContext(Struct, frozen=True):
    """What a change is decided on, while the install's row is locked."""

    call: Call
    install: Install
    manifest: EndpointManifest
    lookup: ChangeLookup
    now: datetime

    def endpoint(self, selector: Selector, *, has_payload: bool) -> UUID | None:
        """Resolve a selector among the endpoints of the version the install has now."""
        return choose(selector, self.lookup.endpoints, self.manifest, has_payload=has_payload)

    def owns_endpoint(self, schedule: Schedule) -> bool:
        """Return whether a schedule's endpoint is one of the version the install has now."""
        return schedule.endpoint_version_id == self.install.version_id


class AppliedChange(Struct, frozen=True):
    """A change that was made: its answer, and what audit entry and event state of it.

    ``new`` is a schedule that is yet to be written.
    """

    answer: Answer
    schedule_id: UUID
    event: EventType
    changes: Mapping[str, Any]
    new: NewSchedule | None = None


def check_change_rate(context: ChangeContext) -> None:
    """Raise ServiceError RATE_LIMITED when the install has used up its changes for now.

    Those of administrators do not count, and are not counted.
    """
    if context.call.claims.aud != HOST_AUDIENCE:
        return
    limit = context.call.policy.limits.changes_per_minute
    wait = check_rate(context.lookup.accepted, context.now, limit)
    if wait is not None:
        message = too_many_changes(limit, context.now, wait)
        raise ServiceError(Code.RATE_LIMITED, message, retry_after_ms=wait)


def replayed(call: Call, replay: Replay) -> Answer:
    """Return the stored result; raise ServiceError CONFLICT when it was for something else."""
    claims = call.claims
    if (replay.op, replay.body_sha256) != (claims.op, claims.body_sha256):
        raise ServiceError(Code.CONFLICT, "This jti was used before for another request")
    return msgspec.msgpack.decode(replay.result, type=call.output)


def lookup_query(call: Call, install: Install, request: LookupRequest) -> LookupQuery:
    """Return what to look up for a change of this install."""
    return LookupQuery(
        tenant_id=install.tenant_id,
        install_id=install.id,
        scope=replay_scope(install),
        jti=call.claims.jti,
        version_id=install.version_id,
        name=request.name,
        path=None if request.selector is None else request.selector.path,
        schedule_id=request.schedule_id,
    )


def context_of(call: Call, install: Install, lookup: ChangeLookup) -> ChangeContext:
    """Return what a change is decided on."""
    now = call.policy.clock(lookup.now)
    return ChangeContext(call, install, read_manifest(install.manifest), lookup, now)


async def load_context(call: Call, install: Install, request: LookupRequest) -> ChangeContext:
    """Look up what a change of this locked install is decided on; materialise its endpoints."""
    query = lookup_query(call, install, request)
    load = sharded_changes.load if call.policy.sharded else change_lookup.load
    lookup = await load(call.connection, query)
    if request.selector is not None and not lookup.materialised:
        manifest = read_manifest(install.manifest)
        await materialise_missing(call.connection, install.version_id, manifest)
        lookup = await load(call.connection, query)
    return context_of(call, install, lookup)


def replay_scope(install: Install) -> str:
    """Return the scope in which a jti of this install is used once, and its changes counted."""
    return f"install:{install.id}"

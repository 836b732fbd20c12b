"""Admin operations that show which minutes of the coming week are crowded, and by whom."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from statistics import median_low
from typing import Any
from zoneinfo import ZoneInfo

from contracts import admin_load as contract
from contracts.admin_load import WEEK_MINUTES
from contracts.times import read_time, wire_time
from service.operations.admin.pages import DEFAULT_LIMIT, time_errors
from service.operations.admin.slices import in_slices
from service.operations.admin.transaction import resolve_tenant
from service.operations.context import Answer, Call, field_refusal
from service.rules import admin_fields
from service.rules.cron import Cron
from service.rules.fields import CheckedCreate, check_create
from service.rules.planning import UnplannableError
from service.rules.planning import read as read_stored
from service.rules.slots import is_slot_of, slot_minutes
from service.rules.zones import load as load_zone
from service.storage.engine import clock
from service.storage.schedules import load as counted
from service.storage.schedules.load import CronPair, PairOwners

MINUTE = timedelta(minutes=1)
WEEK = WEEK_MINUTES * MINUTE
BEYOND_THE_WEEK = field_refusal({"minute": "Must be within the coming week"})


async def load(call: Call, request: contract.LoadInput) -> Answer:
    """Answer the slots of each minute of the coming week."""
    tenant_id = resolve_tenant(call, request.tenant_id)
    begins = await _this_minute(call)
    if request.minute is not None and not _is_in_week(request.minute, begins):
        return BEYOND_THE_WEEK
    counts = [0] * WEEK_MINUTES
    pairs = await counted.pairs(call.connection, tenant_id)
    async for pair in in_slices(pairs):
        known = _read(pair)
        if known is None:
            continue  # such a schedule fires nothing
        for minute in slot_minutes(*known, begins, WEEK_MINUTES):
            counts[minute] += pair.schedules
    whose = None
    if request.minute is not None:
        whose = await _whose(call, tenant_id, pairs, request.minute, request.limit)
    return contract.LoadOutput(
        begins=wire_time(begins),
        schedules=sum(pair.schedules for pair in pairs),
        slots=sum(counts),
        minutes=counts,
        met=None if request.cron is None else _met(_checked_cron(call), begins, counts),
        minute=whose,
    )


async def load_minute(call: Call, request: contract.LoadMinuteInput) -> Answer:
    """Answer whose slots fall into a minute of the coming week."""
    tenant_id = resolve_tenant(call, request.tenant_id)
    if not _is_in_week(request.minute, await _this_minute(call)):
        return BEYOND_THE_WEEK
    pairs = await counted.pairs(call.connection, tenant_id)
    return await _whose(call, tenant_id, pairs, request.minute, request.limit)


async def _whose(
    call: Call, tenant_id: str | None, pairs: Sequence[CronPair], text: str, limit: int | None
) -> contract.LoadMinuteOutput:
    """Return whose slots, of those of the pairs, are in a minute."""
    minute = _minute_of(text)
    due: list[CronPair] = []
    async for pair in in_slices(pairs):
        known = _read(pair)
        if known is not None and is_slot_of(*known, minute):
            due.append(pair)
    owners = await _owners(call, tenant_id, due, limit or DEFAULT_LIMIT)
    return contract.LoadMinuteOutput(
        minute=wire_time(minute),
        schedules=owners.schedules,
        tenants=owners.tenants,
        most=[
            contract.TenantLoad(tenant_id=owner, schedules=count) for owner, count in owners.most
        ],
    )


def _minute_of(text: str) -> datetime:
    return read_time(text).astimezone(UTC).replace(second=0, microsecond=0)


def _is_in_week(text: str, begins: datetime) -> bool:
    return begins <= _minute_of(text) < begins + WEEK


async def _owners(
    call: Call, tenant_id: str | None, pairs: Sequence[CronPair], limit: int
) -> PairOwners:
    if not pairs:
        return PairOwners()
    if tenant_id is None:
        return await counted.owners(call.connection, pairs, limit)
    own = sum(pair.schedules for pair in pairs)
    return PairOwners([(tenant_id, own)], tenants=1, schedules=own)


async def _this_minute(call: Call) -> datetime:
    now = call.policy.clock(await clock.read(call.connection))
    return now.astimezone(UTC).replace(second=0, microsecond=0)


def _read(pair: CronPair) -> tuple[Cron, ZoneInfo] | None:
    try:
        return read_stored(pair.cron, pair.timezone)
    except UnplannableError:
        return None


def _met(checked: CheckedCreate, begins: datetime, counts: Sequence[int]) -> contract.MetLoad:
    zone = load_zone(checked.timezone)
    assert checked.cron is not None  # noqa: S101 - checked before
    assert zone is not None  # noqa: S101 - likewise
    own = list(slot_minutes(checked.cron, zone, begins, WEEK_MINUTES))
    if not own:
        return contract.MetLoad(slots=0, median=0, most=0, most_at=None)
    most = max(own, key=lambda minute: counts[minute])
    return contract.MetLoad(
        slots=len(own),
        median=median_low(counts[minute] for minute in own),
        most=counts[most],
        most_at=wire_time(begins + most * MINUTE),
    )


def _checked_cron(call: Call) -> CheckedCreate:
    fields = {name: call.raw.get(name) for name in ("cron", "timezone")}
    return check_create({"endpoint": "/", **fields}, call.policy.limits)


def load_errors(call: Call, values: Mapping[str, Any]) -> Mapping[str, str]:
    """Return the errors of ``load`` that its field types do not cover."""
    errors = time_errors(values, "minute")
    if values.get("cron") is not None:
        return {**errors, **_checked_cron(call).errors}
    if values.get("timezone") is not None:
        return {**errors, "timezone": admin_fields.invalid("timezone")}
    return errors


def minute_errors(_: Call, values: Mapping[str, Any]) -> Mapping[str, str]:
    """Return the errors of ``loadMinute`` that its field types do not cover."""
    return time_errors(values, "minute")

"""What the audit says of schedules, their installs and tenants over time: for their account."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TypeAlias
from uuid import UUID

from service.rules.recorded_states import StateChange, StateValues, in_order, read_change
from service.rules.recorded_stretches import History
from service.storage import account_records, account_switches
from service.storage.account_records import (
    EARLIER_CRON,
    EARLIER_ENABLED,
    EARLIER_TIMEZONE,
    AuditedChange,
    ScheduleRecord,
)
from service.storage.account_switches import Switches
from service.storage.engine.connection import Connection

ScheduleKey: TypeAlias = tuple[str, UUID]
"""Tenant and schedule id."""
LOOKED_BACK = timedelta(days=1)
"""How far before a window changes are read in the order of their commits: a clock that is set back
further may have its earlier changes taken for later ones."""


async def read(
    connection: Connection,
    rows: Sequence[ScheduleRecord],
    changes: Mapping[ScheduleKey, list[StateChange]],
    deleted_at: Mapping[ScheduleKey, datetime],
    first_runs: Mapping[ScheduleKey, datetime],
    after: datetime,
    until: datetime,
) -> dict[ScheduleKey, History]:
    """Return the history of each schedule, given its changes since the window (after, until]."""
    before = await _before(connection, rows, changes, after)
    earlier = await _earlier(connection, rows, changes, after - LOOKED_BACK)
    pauses, switches = await _switches(connection, rows, after - LOOKED_BACK)
    found = {}
    for row in rows:
        of_tenant = pauses[row.tenant_id]
        of_install = switches[row.tenant_id, row.install_id]
        own = [*before.get(row.key, ()), *changes.get(row.key, ())]
        now = StateValues(row.cron, row.timezone, row.enabled, row.ours)
        found[row.key] = History(
            now=now.then(of_tenant.now).then(of_install.now),
            earlier=earlier[row.key].then(of_tenant.earlier).then(of_install.earlier),
            changes=in_order([*own, *of_tenant.changes, *of_install.changes]),
            created_at=row.created_at,
            deleted_at=deleted_at.get(row.key),
            first_run=first_runs.get(row.key, until),
        )
    return found


def by_schedule(
    rows: Sequence[ScheduleRecord], entries: Sequence[AuditedChange]
) -> dict[ScheduleKey, list[StateChange]]:
    """Return what the entries say of each schedule, without those that say nothing."""
    of_install: dict[tuple[str, UUID], list[ScheduleRecord]] = {}
    for row in rows:
        of_install.setdefault((row.tenant_id, row.install_id), []).append(row)
    keys = {row.key for row in rows}
    found: dict[ScheduleKey, list[StateChange]] = {}
    for entry in entries:
        own = entry.schedule_id is not None
        concerned = (
            [(entry.tenant_id, entry.schedule_id)]
            if entry.schedule_id is not None
            else [row.key for row in of_install.get((entry.tenant_id, entry.install_id), ())]
        )
        for key in concerned:
            change = read_change(entry.at, key[1], own, entry.changes, entry.sequence)
            if key in keys and change is not None:
                found.setdefault(key, []).append(change)
    return found


async def _before(
    connection: Connection,
    rows: Sequence[ScheduleRecord],
    changes: Mapping[ScheduleKey, list[StateChange]],
    after: datetime,
) -> dict[ScheduleKey, list[StateChange]]:
    """Return what entries of shortly before the window say of schedules that changed since."""
    changed = [row for row in rows if row.key in changes]
    if not changed:
        return {}
    keys = [row.key for row in changed]
    return by_schedule(
        changed,
        await account_records.changes(connection, keys, after - LOOKED_BACK, after),
    )


async def _earlier(
    connection: Connection,
    rows: Sequence[ScheduleRecord],
    changes: Mapping[ScheduleKey, list[StateChange]],
    until: datetime,
) -> dict[ScheduleKey, StateValues]:
    """Return what older entries say of schedules that were changed in the window or later."""
    changed = [(row.tenant_id, row.install_id, row.id) for row in rows if row.key in changes]
    found = {row.key: StateValues() for row in rows}
    for statement in (EARLIER_CRON, EARLIER_TIMEZONE, EARLIER_ENABLED):
        entries = await account_records.earlier(connection, statement, changed, until)
        for key, entry in entries.items():
            own = entry.schedule_id is not None
            change = read_change(entry.at, key[1], own, entry.changes)
            if change is not None:
                # Each of the three entries is the latest that has its own member alone.
                names = {EARLIER_CRON: "cron", EARLIER_TIMEZONE: "timezone"}
                name = names.get(statement, "enabled")
                value = StateValues(**{name: getattr(change.values, name)})
                found[key] = found[key].then(value)
    return found


async def _switches(
    connection: Connection, rows: Sequence[ScheduleRecord], since: datetime
) -> tuple[dict[str, Switches], dict[tuple[str, UUID], Switches]]:
    """Return when the schedules' tenants were paused, and their installs off."""
    tenants = {row.tenant_id for row in rows}
    installs = {(row.tenant_id, row.install_id) for row in rows}
    return (
        {each: await account_switches.pauses(connection, each, since) for each in tenants},
        {each: await account_switches.of_install(connection, *each, since) for each in installs},
    )

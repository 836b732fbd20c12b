"""The account of schedules: each slot of a window, and what is on record of it.

Independent of the planner: slots are computed from the expressions that were in force by the audit,
and compared with run records. Schedules go by in pages, and the slots of an expression are computed
once, so that a window of all schedules takes neither memory nor time for each slot.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from msgspec import Struct

from service.rules.accounting import RecordedTime, SlotCounts, account
from service.rules.planning import UnplannableError, read, slot_of_timer
from service.rules.recorded_states import StateChange
from service.rules.recorded_stretches import stretches
from service.rules.slots import slots_between
from service.storage import account_history, account_records
from service.storage.account_history import ScheduleKey
from service.storage.account_records import DeletedRecord, RunSum, ScheduleRecord
from service.storage.engine.connection import Connection

SETTLED_AFTER = timedelta(minutes=5)
"""How long after its slot a run is on record, as a rule: planning takes seconds."""
MAX_EXPRESSIONS = 20_000
"""How many expressions' slots are remembered."""


class ScheduleAccount(Struct, frozen=True):
    """What became of the slots of one schedule; ``deleted_at`` is None where it exists."""

    tenant_id: str
    install_id: UUID
    schedule_id: UUID
    name: str | None
    cron: str
    timezone: str
    counts: SlotCounts
    deleted_at: datetime | None = None


class AccountedPage(Struct, frozen=True):
    """A page of accounts, and the key of its last schedule or deletion; None after the last."""

    accounts: list[ScheduleAccount]
    last: ScheduleKey | tuple[datetime, UUID] | None


class Window:
    """A window of time, (``after``, ``until``], and the slots of expressions in it."""

    def __init__(self, after: datetime, until: datetime) -> None:
        self.after = after
        self.until = until
        self._slots: dict[tuple[str, str], tuple[Sequence[datetime], RunSum]] = {}

    def slots(self, cron: str, timezone: str, after: datetime, until: datetime) -> list[datetime]:
        """Return the slots in (after, until], a part of the window; none for an invalid pair."""
        return [slot for slot in self.of(cron, timezone)[0] if after < slot <= until]

    def of(self, cron: str, timezone: str) -> tuple[Sequence[datetime], RunSum]:
        """Return the slots of the window, and the sum of the runs when each has its run."""
        known = self._slots.get((cron, timezone))
        if known is None:
            try:
                found = slots_between(*read(cron, timezone), self.after, self.until)
            except UnplannableError:
                found = []
            total = sum(int(slot.timestamp()) // 60 for slot in found)
            known = found, RunSum(len(found), total, 0)
            if len(self._slots) >= MAX_EXPRESSIONS:
                self._slots.clear()
            self._slots[cron, timezone] = known
        return known


async def schedules(
    connection: Connection,
    window: Window,
    tenant_id: str | None,
    after: ScheduleKey,
    limit: int,
) -> AccountedPage:
    """Account for the next schedules after a key, in the order of tenant and id."""
    rows = await account_records.page(connection, tenant_id, after, limit)
    if not rows:
        return AccountedPage([], None)
    keys = [row.key for row in rows]
    sums = await account_records.run_sums(connection, keys, window.after, window.until)
    changes = account_history.by_schedule(
        rows, await account_records.changes(connection, keys, window.after)
    )
    quick = {
        row.key: counts
        for row in rows
        if row.key not in changes
        and (counts := _unchanged(row, window, sums.get(row.key, RunSum()))) is not None
    }
    slow = [row for row in rows if row.key not in quick]
    found = quick | await _account(connection, window, slow, changes, {})
    accounts = [_account_of(row, found[row.key]) for row in rows]
    return AccountedPage(accounts, keys[-1] if len(rows) == limit else None)


async def deleted_schedules(
    connection: Connection,
    window: Window,
    tenant_id: str | None,
    after: tuple[datetime, UUID],
    limit: int,
) -> AccountedPage:
    """Account for schedules that were deleted since the window began, by deletion time."""
    found = await account_records.deleted(connection, tenant_id, after, limit)
    if not found:
        return AccountedPage([], None)
    rows = [_row_of(deleted) for deleted in found]
    entries = await account_records.changes(connection, [row.key for row in rows], window.after)
    ends = {row.key: deleted.at for row, deleted in zip(rows, found, strict=True)}
    # These entries repeat what the schedules were.
    deletions = {deleted.entry_id for deleted in found}
    changes = account_history.by_schedule(
        rows, [each for each in entries if each.id not in deletions]
    )
    counts = await _account(connection, window, rows, changes, ends)
    accounts = [_account_of(row, counts[row.key], ends[row.key]) for row in rows]
    last = (found[-1].at, found[-1].entry_id) if len(found) == limit else None
    return AccountedPage(accounts, last)


def _account_of(
    row: ScheduleRecord, counts: SlotCounts, deleted_at: datetime | None = None
) -> ScheduleAccount:
    return ScheduleAccount(
        tenant_id=row.tenant_id,
        install_id=row.install_id,
        schedule_id=row.id,
        name=row.name,
        cron=row.cron,
        timezone=row.timezone,
        counts=counts,
        deleted_at=deleted_at,
    )


def _row_of(deleted: DeletedRecord) -> ScheduleRecord:
    cron, timezone = deleted.changes.get("cron"), deleted.changes.get("timezone")
    name = deleted.changes.get("name")
    return ScheduleRecord(
        deleted.tenant_id,
        deleted.id,
        deleted.install_id,
        name if isinstance(name, str) else None,
        cron if isinstance(cron, str) else "",
        timezone if isinstance(timezone, str) else "UTC",
        True,
        None,
        True,
        None,
        0,
    )


def _unchanged(row: ScheduleRecord, window: Window, runs: RunSum) -> SlotCounts | None:
    """Return the account of a schedule that was always as it is, where it is plain; else None.

    The number and the sum of the runs' slots are those of the expression's: each has its run.
    """
    if row.created_at is None or row.created_at > window.after or runs.skipped:
        return None
    expected = window.of(row.cron, row.timezone)[1]
    if not row.ours:
        return SlotCounts() if not runs.runs else None
    if not runs.runs and not row.enabled:
        counts = SlotCounts(slots=expected.runs)
        counts.swallowed["schedule_disabled"] = expected.runs
        return counts
    if (runs.runs, runs.minutes) != (expected.runs, expected.minutes):
        return None
    return SlotCounts(slots=expected.runs, fired=expected.runs)


async def _account(
    connection: Connection,
    window: Window,
    rows: Sequence[ScheduleRecord],
    changes: Mapping[ScheduleKey, list[StateChange]],
    deleted_at: Mapping[ScheduleKey, datetime],
) -> dict[ScheduleKey, SlotCounts]:
    """Account for schedules slot by slot."""
    if not rows:
        return {}
    keys = [row.key for row in rows]
    runs = await account_records.runs(connection, keys, window.after, window.until)
    later = await account_records.later_runs(connection, keys, window.until)
    histories = await account_history.read(
        connection,
        rows,
        changes,
        deleted_at,
        {key: each[0].slot for key, each in runs.items()},
        window.after,
        window.until,
    )
    found = {}
    for row in rows:
        recorded = RecordedTime(
            after=window.after,
            until=window.until,
            stretches=stretches(window.after, histories[row.key]),
            runs=runs.get(row.key, []),
            later_run=later.get(row.key),
            timer_due=row.due_at and slot_of_timer(row.cron, row.timezone, row.due_at),
            timer_missed=row.missed,
        )
        found[row.key] = account(recorded, window.slots)
    return found

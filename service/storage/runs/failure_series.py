"""Failures in a row: counted where a run's end is written, each change reported once."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from msgspec import Struct

from service.rules.outcomes import MAX_ERROR, FailureRules
from service.storage.engine.connection import Connection
from service.storage.records import audit
from service.storage.records.audit import NewAuditEntry
from service.storage.records.outbox import OutboxEvent
from service.storage.runs.occurrences import slot_text
from service.storage.runs.updates import RunUpdate
from service.storage.schedules.disabling import ScheduleRef, disable

# In the order of slots; a slot that is still to come was left by a clock that was ahead. The row
# itself names the run that began or ended a series, so that each change is reported by the one run
# that made it. Rows without a change are not returned: most runs succeed, as did those before.
LAST_RUN = """
WITH ended AS (
  UPDATE tenant_extension_schedule s
  SET last_run_at = e.started_at, last_run_status = e.status, last_error = e.error,
    last_run_slot = e.slot,
    failures = CASE WHEN e.status = 'success' THEN 0 ELSE coalesce(s.failures, 0) + 1 END,
    failing_since = CASE WHEN e.status = 'success' THEN NULL
      WHEN coalesce(s.failures, 0) + 1 >= $9::integer THEN coalesce(s.failing_since, $8)
      ELSE s.failing_since END,
    failing_run = CASE WHEN CASE WHEN e.status = 'success' THEN s.failing_since IS NOT NULL
      ELSE s.failing_since IS NULL AND coalesce(s.failures, 0) + 1 >= $9 END
      THEN e.run_id ELSE s.failing_run END
  FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::timestamptz[], $5::timestamptz[], $6::text[],
    $7::text[]) AS e (tenant_id, schedule_id, run_id, slot, started_at, status, error)
  WHERE s.id = e.schedule_id AND s.tenant_id = e.tenant_id
    AND (s.last_run_slot IS NULL OR s.last_run_slot <= e.slot OR s.last_run_slot > $8::timestamptz)
  RETURNING s.tenant_id::text AS tenant_id, s.id, s.failures, s.failing_since, s.enabled,
    s.failing_run IS NOT DISTINCT FROM e.run_id AS turned
)
SELECT tenant_id, id, failures, failing_since, turned,
  enabled IS TRUE AND $10::integer > 0 AND failures >= $10 AS disables
FROM ended WHERE turned OR (enabled IS TRUE AND $10 > 0 AND failures >= $10)
"""


class FailureSeries(Struct, frozen=True):
    """The failures of a schedule in a row, where that matters.

    ``turned``: they have just become enough to be failing, or ended (``failing_since`` None).
    ``disables``: they are too many, and the schedule is to be disabled.
    """

    tenant_id: str
    schedule_id: UUID
    failures: int
    failing_since: datetime | None
    turned: bool
    disables: bool


class DisableReason(Struct, frozen=True):
    """Why a run disables its schedule; ``failures`` in a row, None for a missing endpoint."""

    update: RunUpdate
    error: str | None
    failures: int | None = None


async def record(
    connection: Connection, recorded: Sequence[RunUpdate], now: datetime, rules: FailureRules
) -> list[OutboxEvent]:
    """Write last-run fields and count failures; return the events that report a change.

    Disables schedules that have lost their endpoint, or have failed too often in a row.
    """
    events: list[OutboxEvent] = []
    too_many: dict[tuple[str, UUID], DisableReason] = {}
    for ended in _rounds(recorded):
        by_schedule = {update.schedule: update for update in ended}
        for series in await _record_last_runs(connection, ended, now, rules):
            update = by_schedule[series.tenant_id, series.schedule_id]
            if series.turned:
                events.append(_event(series, update))
            if series.disables:
                error = f"Disabled after {series.failures} failures in a row: {update.error}"
                reason = DisableReason(update, error[:MAX_ERROR], series.failures)
                too_many[update.schedule] = reason
    lost = {
        update.schedule: DisableReason(update, update.error)
        for update in recorded
        if update.disable
    }
    for reasons, after in ((lost, None), (too_many, rules.disable_after)):
        disabled = await disable(
            connection,
            {key: reason.error for key, reason in reasons.items()},
            now,
            only_without_endpoint=after is None,
            after_failures=after,
            raise_revision=False,
        )
        events += await _report_disabled(connection, disabled, reasons, now)
    return events


def _rounds(recorded: Sequence[RunUpdate]) -> Iterator[list[RunUpdate]]:
    """Yield the first run of each schedule by slot, then the second: there hardly ever is one."""
    left = sorted(recorded, key=lambda update: update.run.slot)
    while left:
        first = {update.schedule: update for update in reversed(left)}
        yield list(first.values())
        left = [update for update in left if first[update.schedule] is not update]


async def _record_last_runs(
    connection: Connection, ended: Sequence[RunUpdate], now: datetime, rules: FailureRules
) -> list[FailureSeries]:
    """Write the last-run fields of schedules, by one run of each."""
    rows = await connection.fetch(
        LAST_RUN,
        [update.run.tenant_id for update in ended],
        [update.run.schedule_id for update in ended],
        [update.run.id for update in ended],
        [update.run.slot for update in ended],
        [update.run.started_at for update in ended],
        [update.status for update in ended],
        [update.error for update in ended],
        now,
        rules.failing_after,
        rules.disable_after,
    )
    return [FailureSeries(*row) for row in rows]


def _event(series: FailureSeries, update: RunUpdate) -> OutboxEvent:
    run, failing = update.run, series.failing_since is not None
    data: dict[str, object] = {"slot": slot_text(run.slot)}
    if failing:
        data |= {"failures": series.failures, "error": update.error}
    return OutboxEvent(
        tenant_id=run.tenant_id,
        install_id=run.install_id,
        schedule_id=run.schedule_id,
        run_id=run.id,
        type="schedule.failing" if failing else "schedule.recovered",
        data=msgspec.json.encode(data).decode(),
    )


async def _report_disabled(
    connection: Connection,
    disabled: Sequence[ScheduleRef],
    reasons: Mapping[tuple[str, UUID], DisableReason],
    now: datetime,
) -> list[OutboxEvent]:
    """Write the audit entries of schedules that were disabled; return their events."""
    entries, events = [], []
    for ref in disabled:
        reason = reasons[ref.tenant_id, ref.schedule_id]
        counted = {} if reason.failures is None else {"failures": reason.failures}
        changes = {"enabled": [True, False], **counted}
        entries.append(
            NewAuditEntry(
                tenant_id=ref.tenant_id,
                install_id=ref.install_id,
                schedule_id=ref.schedule_id,
                op="disable",
                trigger="service",
                actor="worker",
                request_id=str(reason.update.run.id),
                changes=msgspec.json.encode(changes).decode(),
            )
        )
        events.append(
            OutboxEvent(
                tenant_id=ref.tenant_id,
                install_id=ref.install_id,
                schedule_id=ref.schedule_id,
                type="schedule.disabled",
                data=msgspec.json.encode({"error": reason.error, **counted}).decode(),
            )
        )
    await audit.insert(connection, entries, now)
    return events

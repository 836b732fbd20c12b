"""What the end of a run leaves on its schedule and tells the world, in its own transaction."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from service.storage.engine.connection import Connection
from service.storage.runs.attempts import Ended
from service.storage.runs.occurrences import slot_text

LOCK_SCHEDULES = """
SELECT FROM unnest($1::text[], $2::uuid[]) AS w (tenant_id, id)
JOIN tenant_extension_schedule s ON s.id = w.id AND s.tenant_id = w.tenant_id
ORDER BY s.id
FOR NO KEY UPDATE OF s
"""

LAST_RUN = """
UPDATE tenant_extension_schedule s
SET last_run_at = e.started_at, last_run_status = e.status, last_error = e.error,
  last_run_slot = e.slot
FROM unnest($1::text[], $2::uuid[], $3::timestamptz[], $4::timestamptz[], $5::text[], $6::text[])
  AS e (tenant_id, schedule_id, slot, started_at, status, error)
WHERE s.id = e.schedule_id AND s.tenant_id = e.tenant_id
  AND (s.last_run_slot IS NULL OR s.last_run_slot <= e.slot)
"""

# Looked at again under the lock: the install may have been updated since the run was loaded.
DISABLE = """
UPDATE tenant_extension_schedule s
SET enabled = false, job_id = NULL, runner_schedule_id = NULL, updated_at = $4::timestamptz,
  last_error = d.error
FROM unnest($1::text[], $2::uuid[], $3::text[]) AS d (tenant_id, schedule_id, error)
WHERE s.id = d.schedule_id AND s.tenant_id = d.tenant_id AND s.enabled
  AND NOT EXISTS (
    SELECT FROM tenant_extension_install i
    JOIN extension_api_endpoint p ON p.version_id = i.version_id
    WHERE i.id = s.install_id AND i.tenant_id = s.tenant_id AND p.id = s.endpoint_id)
RETURNING s.tenant_id::text, s.id, s.install_id, s.last_error
"""

REMOVE_TIMERS = """
DELETE FROM ext_scheduler.timers t
USING unnest($1::text[], $2::uuid[]) AS d (tenant_id, schedule_id)
WHERE t.tenant_id = d.tenant_id AND t.schedule_id = d.schedule_id
"""

AUDIT = """
INSERT INTO ext_scheduler.audit
  (tenant_id, at, install_id, schedule_id, op, trigger, actor, request_id, changes)
SELECT d.tenant_id, $4::timestamptz, d.install_id, d.schedule_id, 'disable', 'service', 'worker',
  d.run_id, '{"enabled": [true, false]}'
FROM unnest($1::text[], $2::uuid[], $3::uuid[], $5::text[])
  AS d (tenant_id, install_id, schedule_id, run_id)
"""

EVENTS = """
INSERT INTO ext_scheduler.outbox (tenant_id, install_id, schedule_id, run_id, type, at, data)
SELECT e.tenant_id, e.install_id, e.schedule_id, e.run_id, e.type, $1::timestamptz, e.data::jsonb
FROM unnest($2::text[], $3::uuid[], $4::uuid[], $5::uuid[], $6::text[], $7::text[])
  AS e (tenant_id, install_id, schedule_id, run_id, type, data)
"""


async def lock_schedules(connection: Connection, endings: Sequence[Ended]) -> None:
    """Lock the rows that ``record`` may write, in one order, before anything else is locked.

    Without it all goes as well, but for a deadlock now and then, which is written anew.
    """
    recorded = [e.run for e in endings if e.recorded]
    if recorded:
        await connection.execute(
            LOCK_SCHEDULES,
            [run.tenant_id for run in recorded],
            [run.schedule_id for run in recorded],
        )


async def record(connection: Connection, endings: Sequence[Ended], now: datetime) -> None:
    """Write last-run fields, disable what has lost its endpoint, and leave events."""
    recorded = [ended for ended in endings if ended.recorded]
    if not recorded:
        return
    newest = {e.run.schedule_id: e for e in sorted(recorded, key=lambda e: e.run.slot)}.values()
    await connection.execute(
        LAST_RUN,
        [e.run.tenant_id for e in newest],
        [e.run.schedule_id for e in newest],
        [e.run.slot for e in newest],
        [e.run.started_at for e in newest],
        [e.status for e in newest],
        [e.error for e in newest],
    )
    events = [_event(ended) for ended in recorded]
    if any(ended.disable for ended in recorded):
        events += await _disable(connection, [e for e in recorded if e.disable], now)
    await connection.execute(EVENTS, now, *map(list, zip(*events, strict=True)))


EventRow = tuple[str, UUID, UUID, UUID | None, str, str]


def _event(ended: Ended) -> EventRow:
    run = ended.run
    data = {
        "slot": slot_text(run.slot),
        "trigger": run.trigger,
        "attempts": run.attempts,
        "durationMs": ended.duration_ms,
        "httpStatus": ended.http_status,
    }
    if ended.error is not None:
        data["error"] = ended.error
    kind = "run.succeeded" if ended.status == "success" else "run.failed"
    text = msgspec.json.encode(data).decode()
    return run.tenant_id, run.install_id, run.schedule_id, run.id, kind, text


async def _disable(
    connection: Connection, endings: Sequence[Ended], now: datetime
) -> list[EventRow]:
    runs = {(e.run.tenant_id, e.run.schedule_id): e.run.id for e in endings}
    rows = await connection.fetch(
        DISABLE,
        [e.run.tenant_id for e in endings],
        [e.run.schedule_id for e in endings],
        [e.error for e in endings],
        now,
    )
    if not rows:
        return []
    tenants, schedules = [row["tenant_id"] for row in rows], [row["id"] for row in rows]
    installs = [row["install_id"] for row in rows]
    ids = [str(runs[tenant, id_]) for tenant, id_ in zip(tenants, schedules, strict=True)]
    await connection.execute(REMOVE_TIMERS, tenants, schedules)
    await connection.execute(AUDIT, tenants, installs, schedules, now, ids)
    return [
        (
            row["tenant_id"],
            row["install_id"],
            row["id"],
            None,
            "schedule.disabled",
            msgspec.json.encode({"error": row["last_error"]}).decode(),
        )
        for row in rows
    ]

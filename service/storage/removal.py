"""Removal of installs from every table, because nothing cascades.

Rows are locked in the order used everywhere: install, schedules, timers, active runs, run records.
Timers are removed before run records: the planner writes the latter while it holds the former, so
its last records are committed by then.
"""

from collections.abc import Sequence
from uuid import UUID

from msgspec import Struct

from service.storage.engine.connection import Connection, affected
from service.storage.schedules import timers

LOCK_TENANTS_INSTALLS = """
SELECT i.id FROM tenant_extension_install i
WHERE i.tenant_id = $1::text ORDER BY i.id FOR UPDATE
"""

LOCK_SCHEDULES = """
SELECT s.id FROM tenant_extension_schedule s
WHERE s.tenant_id = $1::text AND s.install_id = ANY ($2::uuid[])
ORDER BY s.id FOR UPDATE
"""

SCHEDULES = """
DELETE FROM tenant_extension_schedule
WHERE tenant_id = $1::text AND install_id = ANY ($2::uuid[])
"""

# A locked row is being claimed for a run that is removed here: the claim then finds no run and
# releases the row. Waiting for it would be a deadlock.
LEFT_ACTIVE_RUNS = """
DELETE FROM ext_scheduler.active_runs a USING (
  SELECT l.tenant_id, l.schedule_id FROM ext_scheduler.active_runs l
  WHERE l.tenant_id = $1::text AND l.schedule_id = ANY ($2::uuid[])
  FOR UPDATE SKIP LOCKED) f
WHERE a.tenant_id = f.tenant_id AND a.schedule_id = f.schedule_id
"""

OPEN_RUNS = """
SELECT DISTINCT r.schedule_id FROM ext_scheduler.runs r
WHERE r.tenant_id = $1::text AND r.install_id = ANY ($2::uuid[])
  AND r.status IN ('queued', 'running')
"""

LOCK_ACTIVE_RUNS = """
SELECT a.schedule_id FROM ext_scheduler.active_runs a
WHERE a.tenant_id = $1::text AND a.schedule_id = ANY ($2::uuid[])
ORDER BY a.schedule_id FOR UPDATE
"""

ACTIVE_RUNS = """
DELETE FROM ext_scheduler.active_runs
WHERE tenant_id = $1::text AND schedule_id = ANY ($2::uuid[])
"""

# In the order in which attempts claim them: the first to lock gets them all.
LOCK_RUNS = """
SELECT r.id FROM ext_scheduler.runs r
WHERE r.tenant_id = $1::text AND r.install_id = ANY ($2::uuid[])
  AND r.status IN ('queued', 'running')
ORDER BY r.schedule_id, r.slot FOR UPDATE
"""

RUNS = """
WITH removed AS (
  DELETE FROM ext_scheduler.runs
  WHERE tenant_id = $1::text AND install_id = ANY ($2::uuid[])
  RETURNING schedule_id
)
SELECT schedule_id, count(*) AS runs FROM removed GROUP BY schedule_id
"""

ATTEMPTS = """
DELETE FROM ext_scheduler.run_attempts
WHERE tenant_id = $1::text AND install_id = ANY ($2::uuid[])
"""

JOBS = """
DELETE FROM ext_scheduler.pgqueuer WHERE dedupe_key LIKE ANY ($1::text[])
"""

RATE_WINDOWS = """
DELETE FROM ext_scheduler.rate_windows WHERE tenant_id = $1::text AND scope = ANY ($2::text[])
"""

IDEMPOTENCY = """
DELETE FROM ext_scheduler.idempotency WHERE tenant_id = $1::text AND scope = ANY ($2::text[])
"""

# Those of administrators, operators included.
ADMIN_IDEMPOTENCY = """
DELETE FROM ext_scheduler.idempotency
WHERE tenant_id = ANY (ARRAY[$1::text, '*']) AND install_id = ANY ($2::uuid[])
"""

# Events of earlier removals are still published.
OUTBOX = """
DELETE FROM ext_scheduler.outbox
WHERE tenant_id = $1::text AND install_id = ANY ($2::uuid[]) AND type <> 'install.removed'
"""

# Handed over before the removal; the event of an earlier removal does not go to webhooks.
WEBHOOK_DELIVERIES = """
DELETE FROM ext_scheduler.webhook_deliveries
WHERE tenant_id = $1::text AND install_id = ANY ($2::uuid[])
"""

CONFIG = """
DELETE FROM tenant_extension_install_config
WHERE tenant_id = $1::text AND install_id = ANY ($2::uuid[])
"""

SECRETS = """
DELETE FROM tenant_extension_install_secrets
WHERE tenant_id = $1::text AND install_id = ANY ($2::uuid[])
"""

INSTALLS = """
DELETE FROM tenant_extension_install WHERE tenant_id = $1::text AND id = ANY ($2::uuid[])
"""

# Installs that another program removed, and that have left rows.
ORPHANED_INSTALLS = """
SELECT x.install_id FROM (
  SELECT s.install_id FROM tenant_extension_schedule s WHERE s.tenant_id = $1::text
  UNION SELECT t.install_id FROM ext_scheduler.timers t WHERE t.tenant_id = $1
  UNION SELECT r.install_id FROM ext_scheduler.runs r WHERE r.tenant_id = $1
  UNION SELECT o.install_id FROM ext_scheduler.outbox o
    WHERE o.tenant_id = $1 AND o.type <> 'install.removed'
  UNION SELECT c.install_id FROM tenant_extension_install_config c WHERE c.tenant_id = $1
  UNION SELECT z.install_id FROM tenant_extension_install_secrets z WHERE z.tenant_id = $1
) x
WHERE NOT EXISTS (
  SELECT FROM tenant_extension_install i WHERE i.tenant_id = $1 AND i.id = x.install_id)
ORDER BY x.install_id
"""

TENANT_ACTIVE_RUNS = """
DELETE FROM ext_scheduler.active_runs a USING (
  SELECT l.tenant_id, l.schedule_id FROM ext_scheduler.active_runs l
  WHERE l.tenant_id = $1::text
  FOR UPDATE SKIP LOCKED) f
WHERE a.tenant_id = f.tenant_id AND a.schedule_id = f.schedule_id
"""

TENANT_RATE_WINDOWS = "DELETE FROM ext_scheduler.rate_windows WHERE tenant_id = $1::text"

# The stored results of removals stay, so that a repeated request gets the same answer.
TENANT_IDEMPOTENCY = """
DELETE FROM ext_scheduler.idempotency
WHERE tenant_id = $1::text AND op NOT IN ('uninstall', 'purgeTenant')
"""

TENANT_PAUSE = "DELETE FROM ext_scheduler.tenant_pauses WHERE tenant_id = $1::text"
TENANT_POOL = "DELETE FROM ext_scheduler.tenant_pools WHERE tenant_id = $1::text"


class Removed(Struct, frozen=True):
    """The numbers of removed rows."""

    installs: int
    schedules: int
    runs: int


async def lock_installs_of(connection: Connection, tenant_id: str) -> list[UUID]:
    """Lock all installs of a tenant until the transaction ends."""
    return [row["id"] for row in await connection.fetch(LOCK_TENANTS_INSTALLS, tenant_id)]


async def orphaned_installs(connection: Connection, tenant_id: str) -> list[UUID]:
    """Return missing installs of which rows are left."""
    return [row["install_id"] for row in await connection.fetch(ORPHANED_INSTALLS, tenant_id)]


async def remove(connection: Connection, tenant_id: str, install_ids: Sequence[UUID]) -> Removed:
    """Remove installs and all their rows except audit entries; the install rows are locked."""
    locked = await connection.fetch(LOCK_SCHEDULES, tenant_id, install_ids)
    schedules = [row["id"] for row in locked]
    await timers.remove_of_installs(connection, tenant_id, install_ids)
    await connection.execute(SCHEDULES, tenant_id, install_ids)
    runs = await _remove_runs(connection, tenant_id, install_ids, schedules)
    await connection.execute(JOBS, [f"extsched:{id_}:%" for id_ in install_ids])
    scopes = [f"install:{id_}" for id_ in install_ids]
    await connection.execute(RATE_WINDOWS, tenant_id, scopes)
    await connection.execute(IDEMPOTENCY, tenant_id, scopes)
    for statement in (ATTEMPTS, ADMIN_IDEMPOTENCY, OUTBOX, WEBHOOK_DELIVERIES, CONFIG, SECRETS):
        await connection.execute(statement, tenant_id, install_ids)
    installs = affected(await connection.execute(INSTALLS, tenant_id, install_ids))
    return Removed(installs, len(schedules), runs)


async def delete_tenant_state(connection: Connection, tenant_id: str) -> int:
    """Remove a tenant's rows that belong to no install, audit entries excepted; return the number.

    Runs that are being claimed release their schedule.
    """
    count = 0
    for statement in (
        TENANT_ACTIVE_RUNS,
        TENANT_RATE_WINDOWS,
        TENANT_IDEMPOTENCY,
        TENANT_PAUSE,
        TENANT_POOL,
    ):
        count += affected(await connection.execute(statement, tenant_id))
    return count


async def _remove_runs(
    connection: Connection, tenant_id: str, install_ids: Sequence[UUID], schedules: list[UUID]
) -> int:
    # A schedule that was deleted earlier may still have a run in flight.
    open_runs = await connection.fetch(OPEN_RUNS, tenant_id, install_ids)
    known = sorted({*schedules, *(row["schedule_id"] for row in open_runs)})
    await connection.fetch(LOCK_ACTIVE_RUNS, tenant_id, known)
    await connection.execute(ACTIVE_RUNS, tenant_id, known)
    await connection.fetch(LOCK_RUNS, tenant_id, install_ids)
    removed = []
    for install_id in install_ids:
        # One by one: all of a large tenant together would exceed the statement timeout.
        removed += await connection.fetch(RUNS, tenant_id, [install_id])
    # Again: an attempt may have claimed a run in between.
    known = sorted({*known, *(row["schedule_id"] for row in removed)})
    await connection.execute(LEFT_ACTIVE_RUNS, tenant_id, known)
    return sum(row["runs"] for row in removed)

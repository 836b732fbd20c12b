"""Removing installs: row by row of every table, because nothing cascades.

The order is that of the locks elsewhere: install, schedule rows, timers, the active run, the run
records. Timers go before run records: the planner writes the latter while it holds the former, so
what it wrote is there to be removed.
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

# What is locked is being claimed for a run that we have removed: the claim then finds no run, and
# lets go of it by itself. Waiting for it would be waiting for each other.
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

# In the order in which attempts claim them: whoever is first has them all.
LOCK_RUNS = """
SELECT r.id FROM ext_scheduler.runs r
WHERE r.tenant_id = $1::text AND r.install_id = ANY ($2::uuid[])
  AND r.status IN ('queued', 'running')
ORDER BY r.schedule_id, r.slot FOR UPDATE
"""

RUNS = """
WITH gone AS (
  DELETE FROM ext_scheduler.runs
  WHERE tenant_id = $1::text AND install_id = ANY ($2::uuid[])
  RETURNING schedule_id
)
SELECT schedule_id, count(*) AS runs FROM gone GROUP BY schedule_id
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

# Those of administrators, an operator's included.
ADMIN_IDEMPOTENCY = """
DELETE FROM ext_scheduler.idempotency
WHERE tenant_id = ANY (ARRAY[$1::text, '*']) AND install_id = ANY ($2::uuid[])
"""

# What an earlier removal has to tell is told yet.
OUTBOX = """
DELETE FROM ext_scheduler.outbox
WHERE tenant_id = $1::text AND install_id = ANY ($2::uuid[]) AND type <> 'install.removed'
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

# What is left of installs that somebody else removed.
STRAYS = """
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

# The records of removals themselves stay, so that asking again is answered as before.
TENANT_IDEMPOTENCY = """
DELETE FROM ext_scheduler.idempotency
WHERE tenant_id = $1::text AND op NOT IN ('uninstall', 'purgeTenant')
"""

TENANT_PAUSE = "DELETE FROM ext_scheduler.tenant_pauses WHERE tenant_id = $1::text"


class Removed(Struct, frozen=True):
    """How much went."""

    installs: int
    schedules: int
    runs: int


async def lock_installs_of(connection: Connection, tenant_id: str) -> list[UUID]:
    """Lock all installs of a tenant until the transaction ends."""
    return [row["id"] for row in await connection.fetch(LOCK_TENANTS_INSTALLS, tenant_id)]


async def orphaned_installs(connection: Connection, tenant_id: str) -> list[UUID]:
    """Return installs that are gone and yet have left something."""
    return [row["install_id"] for row in await connection.fetch(STRAYS, tenant_id)]


async def remove(connection: Connection, tenant_id: str, install_ids: Sequence[UUID]) -> Removed:
    """Remove installs with everything of theirs but the audit; their rows are locked already."""
    locked = await connection.fetch(LOCK_SCHEDULES, tenant_id, install_ids)
    schedules = [row["id"] for row in locked]
    await timers.remove_of_installs(connection, tenant_id, install_ids)
    await connection.execute(SCHEDULES, tenant_id, install_ids)
    runs = await _remove_runs(connection, tenant_id, install_ids, schedules)
    await connection.execute(JOBS, [f"extsched:{id_}:%" for id_ in install_ids])
    scopes = [f"install:{id_}" for id_ in install_ids]
    await connection.execute(RATE_WINDOWS, tenant_id, scopes)
    await connection.execute(IDEMPOTENCY, tenant_id, scopes)
    for statement in (ADMIN_IDEMPOTENCY, OUTBOX, CONFIG, SECRETS):
        await connection.execute(statement, tenant_id, install_ids)
    installs = affected(await connection.execute(INSTALLS, tenant_id, install_ids))
    return Removed(installs, len(schedules), runs)


async def delete_tenant_state(connection: Connection, tenant_id: str) -> int:
    """Remove what a tenant has apart from its installs, the audit excepted; return how many rows.

    Runs that are being claimed let go of their schedule by themselves.
    """
    count = 0
    for statement in (TENANT_ACTIVE_RUNS, TENANT_RATE_WINDOWS, TENANT_IDEMPOTENCY, TENANT_PAUSE):
        count += affected(await connection.execute(statement, tenant_id))
    return count


async def _remove_runs(
    connection: Connection, tenant_id: str, install_ids: Sequence[UUID], schedules: list[UUID]
) -> int:
    # A schedule that was deleted before may have a run under way still.
    open_runs = await connection.fetch(OPEN_RUNS, tenant_id, install_ids)
    known = sorted({*schedules, *(row["schedule_id"] for row in open_runs)})
    await connection.fetch(LOCK_ACTIVE_RUNS, tenant_id, known)
    await connection.execute(ACTIVE_RUNS, tenant_id, known)
    await connection.fetch(LOCK_RUNS, tenant_id, install_ids)
    gone = []
    for install_id in install_ids:
        # One by one: those of a large tenant together take longer than a statement may.
        gone += await connection.fetch(RUNS, tenant_id, [install_id])
    # Once more: an attempt may have claimed a run in between.
    known = sorted({*known, *(row["schedule_id"] for row in gone)})
    await connection.execute(LEFT_ACTIVE_RUNS, tenant_id, known)
    return sum(row["runs"] for row in gone)

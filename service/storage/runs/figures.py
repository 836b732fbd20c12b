"""Figures of the last hour and the coming one, of a tenant or of all (``$1`` is null)."""

from datetime import datetime
from uuid import UUID

from msgspec import Struct

from service.storage.engine.connection import Connection
from service.storage.runs.queue import ENTRYPOINT

PAUSED_TENANTS = """
SELECT p.tenant_id FROM ext_scheduler.tenant_pauses p WHERE $1::text IS NULL OR p.tenant_id = $1
"""

DISABLED_INSTALLS = """
SELECT i.id FROM tenant_extension_install i
WHERE ($1::text IS NULL OR i.tenant_id = $1)
  AND NOT (coalesce(i.is_enabled, false) AND coalesce(i.status, '') = 'enabled')
"""

# By expression and zone: each pair's slots are computed once.
DUE = """
SELECT t.cron, t.timezone, count(*) FROM ext_scheduler.timers t
WHERE t.due_at <= $2::timestamptz AND ($1::text IS NULL OR t.tenant_id = $1)
  AND t.tenant_id <> ALL ($3::text[]) AND t.install_id <> ALL ($4::uuid[])
GROUP BY t.cron, t.timezone
"""

TIMERS = """
SELECT count(*), coalesce(sum(t.missed), 0)::bigint FROM ext_scheduler.timers t
WHERE $1::text IS NULL OR t.tenant_id = $1
"""

RUNS = """
SELECT r.slot, r.status, count(*), sum(r.missed)::bigint FROM ext_scheduler.runs r
WHERE r.slot > $2::timestamptz AND r.slot <= $3::timestamptz
  AND ($1::text IS NULL OR r.tenant_id = $1)
GROUP BY r.slot, r.status
ORDER BY r.slot
"""

# In steps of 10 ms, which is finer than anybody looks, and needs no sort of all runs.
LATENESS = """
SELECT (extract(epoch FROM r.started_at - r.slot) * 100)::integer AS step, count(*)
FROM ext_scheduler.runs r
WHERE r.slot > $2::timestamptz AND r.slot <= $3::timestamptz
  AND ($1::text IS NULL OR r.tenant_id = $1)
  AND r.kind = 'scheduled' AND r.trigger = 'schedule' AND r.attempts = 1
GROUP BY 1
ORDER BY 1
"""

FAILING = """
SELECT count(*) FROM tenant_extension_schedule s
WHERE s.last_run_status = 'error' AND s.enabled AND ($1::text IS NULL OR s.tenant_id = $1)
"""

WAITING_JOBS = """
SELECT count(*) FROM ext_scheduler.pgqueuer q
WHERE q.entrypoint = $1::text AND q.status = 'queued'
  AND ($2::text[] IS NULL OR q.dedupe_key LIKE ANY ($2))
"""

INSTALLS = "SELECT i.id FROM tenant_extension_install i WHERE i.tenant_id = $1::text"


class DuePair(Struct, frozen=True):
    """How many timers of one expression and zone are due by a given instant."""

    cron: str
    timezone: str
    count: int


class SlotRuns(Struct, frozen=True):
    """The runs of one slot with one status, and the missed slots that they stand for."""

    slot: datetime
    status: str
    count: int
    missed: int


class Figures(Struct, frozen=True, kw_only=True):
    """All of it; ``lateness`` is (10 ms steps, runs), ascending."""

    paused_tenants: list[str]
    disabled_installs: list[UUID]
    due: list[DuePair]
    runs: list[SlotRuns]
    lateness: list[tuple[int, int]]
    timers: int
    unaccounted: int
    failing: int
    queued: int


async def read(
    connection: Connection, tenant_id: str | None, since: datetime, now: datetime, until: datetime
) -> Figures:
    """Return the figures of the slots in (since, now], and of the timers due until an instant."""
    paused = [row[0] for row in await connection.fetch(PAUSED_TENANTS, tenant_id)]
    disabled = [row[0] for row in await connection.fetch(DISABLED_INSTALLS, tenant_id)]
    due = await connection.fetch(DUE, tenant_id, until, paused, disabled)
    runs = await connection.fetch(RUNS, tenant_id, since, now)
    lateness = await connection.fetch(LATENESS, tenant_id, since, now)
    timers = await connection.fetchrow(TIMERS, tenant_id)
    keys = None
    if tenant_id is not None:
        installs = await connection.fetch(INSTALLS, tenant_id)
        keys = [f"extsched:{row[0]}:%" for row in installs]
    return Figures(
        paused_tenants=paused,
        disabled_installs=disabled,
        due=[DuePair(*row) for row in due],
        runs=[SlotRuns(*row) for row in runs],
        lateness=[(row[0], row[1]) for row in lateness],
        timers=0 if timers is None else timers[0],
        unaccounted=0 if timers is None else timers[1],
        failing=await connection.fetchval(FAILING, tenant_id),
        queued=await connection.fetchval(WAITING_JOBS, ENTRYPOINT, keys),
    )

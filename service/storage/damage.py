"""More of what does not fit together than the workers look for by themselves."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from service.storage.engine.connection import Connection, affected
from service.storage.runs import attempts, queue
from service.storage.runs.attempts import Wanted
from service.storage.runs.queue import ENTRYPOINT
from service.storage.schedules import firing_state, timers

WITHOUT_INSTALL = """
SELECT s.tenant_id::text AS tenant_id, s.id, s.install_id
FROM tenant_extension_schedule s
LEFT JOIN tenant_extension_install i ON i.tenant_id = s.tenant_id AND i.id = s.install_id
WHERE i.id IS NULL AND ($1::text IS NULL OR s.tenant_id = $1)
ORDER BY s.id
LIMIT $2::integer
"""

WITHOUT_ENDPOINT = """
SELECT s.tenant_id::text AS tenant_id, s.id, s.install_id
FROM tenant_extension_schedule s
JOIN tenant_extension_install i ON i.tenant_id = s.tenant_id AND i.id = s.install_id
LEFT JOIN extension_api_endpoint e ON e.id = s.endpoint_id
WHERE e.id IS NULL AND s.enabled AND ($1::text IS NULL OR s.tenant_id = $1)
ORDER BY s.id
LIMIT $2::integer
"""

DISABLE = """
UPDATE tenant_extension_schedule s
SET enabled = false, job_id = NULL, runner_schedule_id = NULL, last_error = $3::text,
  revision = coalesce(s.revision, 1) + 1, updated_at = $4::timestamptz
WHERE s.tenant_id = ANY ($1::text[]) AND s.id = ANY ($2::uuid[]) AND s.enabled
  AND NOT EXISTS (SELECT FROM extension_api_endpoint e WHERE e.id = s.endpoint_id)
RETURNING s.tenant_id::text AS tenant_id, s.id, s.install_id
"""

JOBS = """
SELECT q.id, q.payload FROM ext_scheduler.pgqueuer q
WHERE q.entrypoint = $1::text AND q.status = 'queued' AND q.id > $2::bigint
ORDER BY q.id
LIMIT $3::integer
"""

REMOVE_JOBS = """
DELETE FROM ext_scheduler.pgqueuer WHERE id = ANY ($1::bigint[]) AND status = 'queued'
"""

TIMERS_WITHOUT_SCHEDULE = """
SELECT t.tenant_id, t.schedule_id, t.install_id
FROM ext_scheduler.timers t
LEFT JOIN tenant_extension_schedule s
  ON s.tenant_id = t.tenant_id AND s.id = t.schedule_id AND s.enabled
WHERE s.id IS NULL AND ($1::text IS NULL OR t.tenant_id = $1)
ORDER BY t.schedule_id
LIMIT $2::integer
"""

BATCH = 1000


class Place(Struct, frozen=True):
    """A schedule, or what should be one."""

    tenant_id: str
    schedule_id: UUID
    install_id: UUID


async def without_install(connection: Connection, tenant_id: str | None, limit: int) -> list[Place]:
    """Return schedules whose install is gone."""
    return [Place(*row) for row in await connection.fetch(WITHOUT_INSTALL, tenant_id, limit)]


async def without_endpoint(
    connection: Connection, tenant_id: str | None, limit: int
) -> list[Place]:
    """Return enabled schedules whose endpoint's row is gone."""
    return [Place(*row) for row in await connection.fetch(WITHOUT_ENDPOINT, tenant_id, limit)]


async def disable(
    connection: Connection, places: Sequence[Place], why: str, now: datetime
) -> list[Place]:
    """Disable those of these schedules whose endpoint is still gone; return which those were."""
    tenants = sorted({place.tenant_id for place in places})
    ids = [place.schedule_id for place in places]
    return [Place(*row) for row in await connection.fetch(DISABLE, tenants, ids, why, now)]


async def timers_without_schedule(
    connection: Connection, tenant_id: str | None, limit: int
) -> list[Place]:
    """Return timers whose schedule is gone or disabled."""
    rows = await connection.fetch(TIMERS_WITHOUT_SCHEDULE, tenant_id, limit)
    return [Place(*row) for row in rows]


async def remove_timers(connection: Connection, places: Sequence[Place]) -> int:
    """Remove those of these timers whose schedule is still gone or disabled; return how many.

    Timers that a change, or the planner, is at are left alone. Call it in a transaction: who
    enables a schedule writes its timer too, so under the timers' locks the look is the last word.
    """
    keys = await timers.lock(connection, [(each.tenant_id, each.schedule_id) for each in places])
    there = await firing_state.read(connection, keys)
    gone = [key for key in keys if key not in there]
    await timers.remove(connection, gone)
    return len(gone)


async def jobs_without_run(connection: Connection, tenant_id: str | None, limit: int) -> list[int]:
    """Return queued jobs that no run record stands behind; unreadable ones where all are meant."""
    found: list[int] = []
    after = 0
    while len(found) < limit:
        rows = await connection.fetch(JOBS, ENTRYPOINT, after, BATCH)
        if not rows:
            break
        after = rows[-1]["id"]
        tickets: dict[int, Wanted] = {}
        for row in rows:
            try:
                ticket = queue.read_ticket(row["payload"])
            except ValueError:
                if tenant_id is None:
                    found.append(row["id"])
                continue
            if tenant_id in {None, ticket.tenant_id}:
                wanted = Wanted(ticket.tenant_id, ticket.run_id, ticket.slot)
                tickets[row["id"]] = wanted
        found += await _orphaned(connection, tickets)
    return found[:limit]


async def remove_jobs(connection: Connection, ids: Sequence[int]) -> int:
    """Remove jobs that nobody works on; return how many."""
    tag = await connection.execute(REMOVE_JOBS, ids)
    return affected(tag)


async def _orphaned(connection: Connection, tickets: dict[int, Wanted]) -> list[int]:
    if not tickets:
        return []
    there = await attempts.see(connection, list(tickets.values()))
    return [id_ for id_, each in tickets.items() if (each.tenant_id, each.id) not in there]

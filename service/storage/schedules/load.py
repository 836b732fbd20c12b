"""How many enabled schedules there are of each expression and zone, and whose they are.

There are few pairs, however many schedules: the slots of each pair are computed once.
"""

from collections.abc import Sequence

from msgspec import Struct

from service.storage.engine.connection import Connection

PAIRS = """
SELECT t.cron, t.timezone, count(*) FROM ext_scheduler.timers t
WHERE $1::text IS NULL OR t.tenant_id = $1
GROUP BY t.cron, t.timezone
"""

# The first condition is cheap and drops most rows; a join with the pairs would not run in parallel.
TENANTS = """
SELECT t.tenant_id, count(*) FROM ext_scheduler.timers t
WHERE t.cron = ANY ($2::text[]) AND t.cron || E'\\n' || t.timezone = ANY ($3::text[])
  AND ($1::text IS NULL OR t.tenant_id = $1)
GROUP BY t.tenant_id
ORDER BY count(*) DESC, t.tenant_id
"""


class CronPair(Struct, frozen=True):
    """An expression and a zone, and how many enabled schedules have them."""

    cron: str
    timezone: str
    schedules: int


async def pairs(connection: Connection, tenant_id: str | None) -> list[CronPair]:
    """Return the pairs of a tenant's enabled schedules, or of all."""
    return [CronPair(*row) for row in await connection.fetch(PAIRS, tenant_id)]


async def tenants(
    connection: Connection, tenant_id: str | None, of: Sequence[CronPair]
) -> list[tuple[str, int]]:
    """Return the tenants that have schedules of these pairs, those with the most first."""
    crons = sorted({pair.cron for pair in of})
    keys = [f"{pair.cron}\n{pair.timezone}" for pair in of]
    rows = await connection.fetch(TENANTS, tenant_id, crons, keys)
    return [(row[0], row[1]) for row in rows]

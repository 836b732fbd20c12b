"""How many enabled schedules there are of each expression and zone, and whose they are.

There are few pairs, however many schedules: the slots of each pair are computed once.
"""

from collections.abc import Sequence

from msgspec import Struct

from service.storage.engine.connection import Connection

# Two statements: one whose tenant may be null is planned without workers once it is prepared, and
# takes twice the time for all, and for a tenant reads everybody's timers.
PAIRS = """
SELECT t.cron, t.timezone, count(*) FROM ext_scheduler.timers t
GROUP BY t.cron, t.timezone
"""

PAIRS_OF_TENANT = """
SELECT t.cron, t.timezone, count(*) FROM ext_scheduler.timers t
WHERE t.tenant_id = $1
GROUP BY t.cron, t.timezone
"""

# The first condition is cheap and drops most rows; a join with the pairs would not run in parallel.
# Sessions avoid whole passes, and groups by the column itself would be read in the order of the
# primary key: every row by its index, four times the work of the pass that it takes anyway.
TENANTS = """
SELECT t.tenant_id || '', count(*), count(*) OVER (), (sum(count(*)) OVER ())::bigint
FROM ext_scheduler.timers t
WHERE t.cron = ANY ($1::text[]) AND t.cron || E'\\n' || t.timezone = ANY ($2::text[])
GROUP BY t.tenant_id || ''
ORDER BY count(*) DESC, t.tenant_id || ''
LIMIT $3
"""


class CronPair(Struct, frozen=True):
    """An expression and a zone, and how many enabled schedules have them."""

    cron: str
    timezone: str
    schedules: int


class PairOwners(Struct, frozen=True):
    """The tenants with the most schedules of some pairs, and the totals of all tenants."""

    most: Sequence[tuple[str, int]] = ()
    tenants: int = 0
    schedules: int = 0


async def pairs(connection: Connection, tenant_id: str | None) -> list[CronPair]:
    """Return the pairs of a tenant's enabled schedules, or of all."""
    if tenant_id is None:
        rows = await connection.fetch(PAIRS)
    else:
        rows = await connection.fetch(PAIRS_OF_TENANT, tenant_id)
    return [CronPair(*row) for row in rows]


async def owners(connection: Connection, of: Sequence[CronPair], limit: int) -> PairOwners:
    """Return who of all tenants has schedules of these pairs, those with the most first."""
    crons = sorted({pair.cron for pair in of})
    keys = [f"{pair.cron}\n{pair.timezone}" for pair in of]
    rows = await connection.fetch(TENANTS, crons, keys, limit)
    if not rows:
        return PairOwners()
    return PairOwners([(row[0], row[1]) for row in rows], rows[0][2], rows[0][3])

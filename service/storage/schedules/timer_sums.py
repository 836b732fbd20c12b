"""Which tenants' timers are not those of their schedules, by a sum per tenant.

On several nodes a row per tenant travels between them, where a join would send all timers.
"""

from service.storage.engine.connection import Connection
from service.storage.schedules.ownership import DRIVEN_BY_OTHER

SCHEDULES = f"""
SELECT s.tenant_id::text AS tenant_id, count(*) AS number, sum(hashtext(s.id::text)) AS digest
FROM tenant_extension_schedule s
WHERE s.enabled AND NOT {DRIVEN_BY_OTHER}
GROUP BY s.tenant_id
"""

TIMERS = """
SELECT t.tenant_id, count(*) AS number, sum(hashtext(t.schedule_id::text)) AS digest
FROM ext_scheduler.timers t
GROUP BY t.tenant_id
"""


async def differing_tenants(connection: Connection) -> list[str]:
    """Return the tenants whose timers are not those of their enabled schedules.

    One that has a schedule without an install, or with an expression that cannot be planned, is
    always among them. Schedules and timers are counted one after the other: a tenant may seem to
    differ because it has just changed.
    """
    schedules = await connection.fetch(SCHEDULES)
    timers = await connection.fetch(TIMERS)
    differing = {tuple(row) for row in schedules} ^ {tuple(row) for row in timers}
    return sorted({tenant_id for tenant_id, _, _ in differing})

"""The schedules of pg-boss, another job runner, in a schema of the same database.

Versions 9 and 10 have ``schedule (name, cron, timezone, data, options, …)``, 11 and 12 a ``key`` as
well: only ``name`` is relied on here.
"""

from collections.abc import Sequence

from service.storage.engine.connection import Connection, affected

HAS_TABLE = """
SELECT EXISTS (
  SELECT FROM information_schema.columns
  WHERE table_schema = $1::text AND table_name = 'schedule' AND column_name = 'name')
"""

# The schema's name takes no parameter; what comes here has been held to letters, digits and '_'.
NAMES = """
SELECT DISTINCT s.name::text AS name FROM (
  SELECT b.name FROM "{schema}".schedule b WHERE b.name LIKE 'extsched:%' FOR UPDATE
) s
ORDER BY 1
"""

REMOVE = 'DELETE FROM "{schema}".schedule WHERE name = ANY ($1::text[])'


async def has_schedules(connection: Connection, schema: str) -> bool:
    """Tell whether there is such a table in the schema."""
    found: bool = await connection.fetchval(HAS_TABLE, schema)
    return found


async def lock_names(connection: Connection, schema: str) -> list[str]:
    """Lock the schedules that are named as ours, and return their names."""
    return [row["name"] for row in await connection.fetch(NAMES.format(schema=schema))]


async def remove(connection: Connection, schema: str, names: Sequence[str]) -> int:
    """Remove schedules by name; return how many rows it were."""
    tag = await connection.execute(REMOVE.format(schema=schema), names)
    return affected(tag)

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

# A schema name cannot be a parameter; the caller has checked it: letters, digits and '_'.
NAMES = """
SELECT DISTINCT s.name::text AS name FROM (
  SELECT b.name FROM "{schema}".schedule b WHERE b.name LIKE 'extsched:%' FOR UPDATE
) s
ORDER BY 1
"""

REMOVE = 'DELETE FROM "{schema}".schedule WHERE name = ANY ($1::text[])'


async def has_schedules(connection: Connection, schema: str) -> bool:
    """Return whether the schema has a table of pg-boss schedules."""
    exists: bool = await connection.fetchval(HAS_TABLE, schema)
    return exists


async def lock_names(connection: Connection, schema: str) -> list[str]:
    """Lock the schedules with the names of this service, and return the names."""
    return [row["name"] for row in await connection.fetch(NAMES.format(schema=schema))]


async def remove(connection: Connection, schema: str, names: Sequence[str]) -> int:
    """Remove schedules by name; return the number of removed rows."""
    tag = await connection.execute(REMOVE.format(schema=schema), names)
    return affected(tag)

"""The schedules and queues of pg-boss, another job runner, in a schema of the same database.

Versions 9 and 10 have ``schedule (name, cron, timezone, data, options, …)``, 11 and 12 a ``key`` as
well: only ``name`` is relied on here. From 10 on each schedule has a queue of its name, removed by
the function ``delete_queue``, and its jobs are rows of ``job`` until they are archived.
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


HAS_QUEUES = """
SELECT to_regclass(format('%I.queue', $1::text)) IS NOT NULL
  AND to_regclass(format('%I.job', $1::text)) IS NOT NULL
  AND to_regprocedure(format('%I.delete_queue(text)', $1::text)) IS NOT NULL
"""

# States are ordered: created, retry, active, completed and what else is over.
EMPTY_QUEUES = """
SELECT q.name::text AS name FROM "{schema}".queue q
WHERE q.name = ANY ($1::text[]) AND NOT EXISTS (
  SELECT FROM "{schema}".job j
  WHERE j.name = q.name AND j.state::text IN ('created', 'retry', 'active'))
ORDER BY q.name
"""

DELETE_QUEUES = 'SELECT "{schema}".delete_queue(name) FROM unnest($1::text[]) AS name'


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


async def remove_queues(
    connection: Connection, schema: str, names: Sequence[str], *, dry_run: bool = False
) -> list[str]:
    """Remove those of these queues in which no job waits or runs; return their names."""
    if not names or not await connection.fetchval(HAS_QUEUES, schema):
        return []
    rows = await connection.fetch(EMPTY_QUEUES.format(schema=schema), names)
    empty = [row["name"] for row in rows]
    if empty and not dry_run:
        await connection.execute(DELETE_QUEUES.format(schema=schema), empty)
    return empty

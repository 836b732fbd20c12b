"""The schedules and queues of pg-boss, another job runner, in a schema of the same database.

Versions 9 and 10 have ``schedule (name, cron, timezone, data, options, …)``, 11 and 12 a ``key`` as
well: only ``name`` is relied on here. From 10 on each schedule has a queue of its name, removed by
the function ``delete_queue``, and its jobs are rows of ``job`` until they are archived. Version 12
refuses names with a colon, as the platform gives them: there a schedule's own row names its handle.
"""

from collections.abc import Sequence

import asyncpg

from service.storage.engine.connection import Connection, affected

HAS_TABLE = """
SELECT EXISTS (
  SELECT FROM information_schema.columns
  WHERE table_schema = $1::text AND table_name = 'schedule' AND column_name = 'name')
"""

# A schema name cannot be a parameter; the caller has checked it: letters, digits and '_'.
NAMES = """
SELECT DISTINCT s.name::text AS name FROM (
  SELECT b.name FROM "{schema}".schedule b
  WHERE b.name LIKE 'extsched:%' OR b.name = ANY ($1::text[]) FOR UPDATE
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

# Version 10's function deletes the queue before its jobs, which a foreign key of its own forbids.
PURGE_QUEUE = """
DELETE FROM "{schema}".job j
WHERE j.name = $1::text AND j.state::text NOT IN ('created', 'retry', 'active')
"""

DELETE_QUEUE = 'SELECT "{schema}".delete_queue($1::text)'

MAX_QUEUES = 200
"""Removed by one call: each is a table of version 10's, and holds locks until the end."""


async def has_schedules(connection: Connection, schema: str) -> bool:
    """Return whether the schema has a table of pg-boss schedules."""
    exists: bool = await connection.fetchval(HAS_TABLE, schema)
    return exists


async def lock_names(connection: Connection, schema: str, handles: Sequence[str]) -> list[str]:
    """Lock the schedules with the platform's names or one of these, and return their names."""
    return [row["name"] for row in await connection.fetch(NAMES.format(schema=schema), handles)]


async def remove(connection: Connection, schema: str, names: Sequence[str]) -> int:
    """Remove schedules by name; return the number of removed rows."""
    tag = await connection.execute(REMOVE.format(schema=schema), names)
    return affected(tag)


async def remove_queues(
    connection: Connection, schema: str, names: Sequence[str], *, dry_run: bool = False
) -> list[str]:
    """Remove these queues, except where a job waits or runs; ``MAX_QUEUES`` at most.

    Returns their names. One that gets a job in that moment stays.
    """
    if not names or not await connection.fetchval(HAS_QUEUES, schema):
        return []
    rows = await connection.fetch(EMPTY_QUEUES.format(schema=schema), names)
    empty = [row["name"] for row in rows[:MAX_QUEUES]]
    if dry_run:
        return empty
    return [name for name in empty if await _remove_queue(connection, schema, name)]


async def _remove_queue(connection: Connection, schema: str, name: str) -> bool:
    try:
        async with connection.transaction():
            await connection.execute(PURGE_QUEUE.format(schema=schema), name)
            await connection.execute(DELETE_QUEUE.format(schema=schema), name)
    except asyncpg.IntegrityConstraintViolationError:
        return False
    return True

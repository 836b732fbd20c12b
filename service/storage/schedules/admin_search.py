"""Schedules as administrators search them: across installs, and for operators across tenants."""

from collections.abc import Sequence
from uuid import UUID

import asyncpg
from msgspec import Struct

from service.storage.engine.connection import Connection
from service.storage.schedules.rows import COLUMNS, JOINS, Schedule, from_columns

_COLUMNS = f"""{COLUMNS},
  p.tenant_id IS NOT NULL AS paused, i.id IS NOT NULL AS install_exists,
  coalesce(i.is_enabled AND i.status = 'enabled', false) AS install_enabled,
  coalesce(e.version_id = i.version_id, false) AS endpoint_valid,
  r.publisher || '/' || r.name AS extension
"""

_JOINS = f"""{JOINS}
  LEFT JOIN tenant_extension_install i ON i.tenant_id = s.tenant_id AND i.id = s.install_id
  LEFT JOIN ext_scheduler.tenant_pauses p ON p.tenant_id = s.tenant_id
  LEFT JOIN extension_registry r ON r.id = i.registry_id
"""

_FILTERS = """
  AND ($3::uuid IS NULL OR s.install_id = $3)
  AND ($4::boolean IS NULL OR coalesce(s.enabled, false) = $4)
  AND ($5::boolean IS NULL OR (s.last_run_status IS NOT DISTINCT FROM 'error') = $5)
"""

# The page is cut before the joins: otherwise they might be made with all schedules.
OF_TENANT = f"""
SELECT s.tenant_id::text AS tenant_id, s.install_id, {_COLUMNS}
FROM (
  SELECT * FROM tenant_extension_schedule s
  WHERE s.tenant_id = $1::text AND s.id > $2::uuid {_FILTERS}
  ORDER BY s.tenant_id, s.id
  LIMIT $6::integer
) s
{_JOINS}
ORDER BY s.tenant_id, s.id
"""

OF_ALL = f"""
SELECT s.tenant_id::text AS tenant_id, s.install_id, {_COLUMNS}
FROM (
  SELECT * FROM tenant_extension_schedule s
  WHERE (s.tenant_id, s.id) > ($1::text, $2::uuid) {_FILTERS}
  ORDER BY s.tenant_id, s.id
  LIMIT $6::integer
) s
{_JOINS}
ORDER BY s.tenant_id, s.id
"""

# Those that fail are few: the filter is spelled as the index has it.
FAILING_OF_TENANT, FAILING_OF_ALL = (
    statement.replace("($5::boolean IS NULL OR", "($5::boolean AND s.last_run_status = 'error' AND")
    for statement in (OF_TENANT, OF_ALL)
)

# By the ids alone: the range of a prefix holds few.
BY_PREFIX = f"""
SELECT s.tenant_id::text AS tenant_id, s.install_id, {_COLUMNS}
FROM (
  SELECT * FROM tenant_extension_schedule s
  WHERE s.id BETWEEN $7::uuid AND $8::uuid
    AND ($1::text IS NULL OR s.tenant_id = $1) AND s.id > $2::uuid {_FILTERS}
  ORDER BY s.tenant_id, s.id
  LIMIT $6::integer
) s
{_JOINS}
ORDER BY s.tenant_id, s.id
"""

ONE = f"""
SELECT s.tenant_id::text AS tenant_id, s.install_id, {_COLUMNS}
FROM tenant_extension_schedule s
{_JOINS}
WHERE s.id = $1::uuid AND ($2::text IS NULL OR s.tenant_id = $2)
"""

SEVERAL = f"""
SELECT s.tenant_id::text AS tenant_id, s.install_id, {_COLUMNS}
FROM unnest($1::text[], $2::uuid[]) WITH ORDINALITY AS k (tenant_id, id, place)
JOIN tenant_extension_schedule s ON s.tenant_id = k.tenant_id AND s.id = k.id
{_JOINS}
ORDER BY k.place
"""

TENANT_OF_INSTALL = """
SELECT i.tenant_id::text FROM tenant_extension_install i
WHERE i.id = $1::uuid AND ($2::text IS NULL OR i.tenant_id = $2)
"""


class Surroundings(Struct, frozen=True):
    """What holds a schedule, or not, apart from its own row."""

    paused: bool
    install_exists: bool
    install_enabled: bool
    endpoint_valid: bool


class OwnedSchedule(Struct, frozen=True):
    """A schedule with its tenant, its install and ``publisher/name`` of its extension."""

    tenant_id: str
    install_id: UUID
    schedule: Schedule
    surroundings: Surroundings
    extension: str | None


class ScheduleFilter(Struct, frozen=True, kw_only=True):
    """Filters, None for any value; ``after`` is (tenant, id) of the last schedule seen.

    ``id_range`` is inclusive; with it, nothing comes after the page.
    """

    tenant_id: str | None
    install_id: UUID | None = None
    enabled: bool | None = None
    failing: bool | None = None
    id_range: tuple[UUID, UUID] | None = None
    after: tuple[str, UUID] | None = None


async def page(connection: Connection, filter_: ScheduleFilter, limit: int) -> list[OwnedSchedule]:
    """Return at most ``limit`` schedules by tenant, then id."""
    if filter_.id_range is not None:
        return await _by_prefix(connection, filter_, filter_.id_range, limit)
    after_tenant, after_id = filter_.after or ("", UUID(int=0))
    of_all, of_tenant = (
        (FAILING_OF_ALL, FAILING_OF_TENANT) if filter_.failing else (OF_ALL, OF_TENANT)
    )
    rows = await connection.fetch(
        of_all if filter_.tenant_id is None else of_tenant,
        after_tenant if filter_.tenant_id is None else filter_.tenant_id,
        after_id,
        filter_.install_id,
        filter_.enabled,
        filter_.failing,
        limit,
    )
    return [owned for row in rows if (owned := _owned(row)) is not None]


async def _by_prefix(
    connection: Connection, filter_: ScheduleFilter, id_range: tuple[UUID, UUID], limit: int
) -> list[OwnedSchedule]:
    rows = await connection.fetch(
        BY_PREFIX,
        filter_.tenant_id,
        UUID(int=0),
        filter_.install_id,
        filter_.enabled,
        filter_.failing,
        limit,
        *id_range,
    )
    return [owned for row in rows if (owned := _owned(row)) is not None]


async def one(
    connection: Connection, tenant_id: str | None, schedule_id: UUID
) -> OwnedSchedule | None:
    """Return a schedule of a tenant, or of any where ``tenant_id`` is None."""
    row = await connection.fetchrow(ONE, schedule_id, tenant_id)
    return None if row is None else _owned(row)


async def several(connection: Connection, keys: Sequence[tuple[str, UUID]]) -> list[OwnedSchedule]:
    """Return the schedules of these (tenant, id), in their order; those that exist."""
    rows = await connection.fetch(
        SEVERAL, [tenant_id for tenant_id, _ in keys], [id_ for _, id_ in keys]
    )
    return [owned for row in rows if (owned := _owned(row)) is not None]


async def tenant_of(connection: Connection, tenant_id: str | None, install_id: UUID) -> str | None:
    """Return the tenant of an install; None unless it is the given one."""
    owner: str | None = await connection.fetchval(TENANT_OF_INSTALL, install_id, tenant_id)
    return owner


def _owned(row: asyncpg.Record) -> OwnedSchedule | None:
    schedule = from_columns(row)
    if schedule is None:
        return None
    surroundings = Surroundings(*(row[name] for name in Surroundings.__struct_fields__))
    return OwnedSchedule(
        row["tenant_id"], row["install_id"], schedule, surroundings, row["extension"]
    )

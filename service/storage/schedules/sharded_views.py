"""Schedules for their owner on a database of several nodes: rows from their nodes, then as views.

The next slots are on the coordinator. They are read first, and go to the nodes as parameters: a
join would send all timers there.
"""

from collections import defaultdict
from collections.abc import Sequence
from uuid import UUID

from service.storage.engine.connection import Connection
from service.storage.platform.installs import RIGHTS_COLUMNS, RIGHTS_FROM, Install, from_row
from service.storage.schedules.owner_view import COLUMNS, SMALL_COLUMNS, ScheduleView

RIGHTS_OF = f"""
SELECT {RIGHTS_COLUMNS}
{RIGHTS_FROM}
WHERE i.tenant_id = ANY ($1::text[]) AND i.id = ANY ($2::uuid[])
"""

DUE = """
SELECT t.schedule_id, t.due_at FROM ext_scheduler.timers t
WHERE t.tenant_id = ANY ($1::text[]) AND t.install_id = ANY ($2::uuid[])
"""

_ROWS = """
SELECT s.tenant_id::text, s.install_id, {columns}
FROM tenant_extension_schedule s
LEFT JOIN extension_api_endpoint e ON e.id = s.endpoint_id
LEFT JOIN unnest($3::uuid[], $4::timestamptz[]) AS t (schedule_id, due_at) ON t.schedule_id = s.id
WHERE s.tenant_id = ANY ($1::text[]) AND s.install_id = ANY ($2::uuid[])
  AND ($5::uuid IS NULL OR s.id = $5)
ORDER BY s.created_at, s.id
"""

ROWS = _ROWS.format(columns=COLUMNS)
SMALL_ROWS = _ROWS.format(columns=SMALL_COLUMNS)

InstallKey = tuple[str, UUID]
"""(tenant, install)."""


async def rights_of(
    connection: Connection, tenant_ids: Sequence[str | None], install_ids: Sequence[UUID]
) -> list[Install | None]:
    """Return these installs in the given order; None where the tenant has no such install."""
    rows = await connection.fetch(RIGHTS_OF, tenant_ids, install_ids)
    known = {(str(row["tenant_id"]), row["install_id"]): from_row(row) for row in rows}
    keys = zip(tenant_ids, install_ids, strict=True)
    return [None if tenant is None else known.get((tenant, id_)) for tenant, id_ in keys]


async def list_with_install(
    connection: Connection, tenant_id: str, install_id: UUID
) -> tuple[Install, list[ScheduleView]] | None:
    """Return the install and its schedules by creation time, then id; None without install."""
    (install,) = await rights_of(connection, [tenant_id], [install_id])
    if install is None:
        return None
    listed = await _read(connection, ROWS, [(tenant_id, install_id)])
    return install, listed[tenant_id, install_id]


async def get_with_install(
    connection: Connection, tenant_id: str, install_id: UUID, schedule_id: UUID | None
) -> tuple[Install, ScheduleView | None] | None:
    """Return the install and one of its schedules, if it has it; None without install."""
    (install,) = await rights_of(connection, [tenant_id], [install_id])
    if install is None:
        return None
    if schedule_id is None:
        return install, None
    key = tenant_id, install_id
    listed = await _read(connection, ROWS, [key], schedule_id)
    return install, next(iter(listed[key]), None)


async def list_many(
    connection: Connection, tenant_ids: Sequence[str | None], install_ids: Sequence[UUID]
) -> list[tuple[Install, list[ScheduleView] | None] | None]:
    """Return each of these installs with its schedules, as ``owner_view.list_many`` does."""
    installs = await rights_of(connection, tenant_ids, install_ids)
    keys = [(install.tenant_id, install.id) for install in installs if install is not None]
    listed = await _read(connection, SMALL_ROWS, keys)
    matches: list[tuple[Install, list[ScheduleView] | None] | None] = []
    for install in installs:
        if install is None:
            matches.append(None)
        else:
            views = listed[install.tenant_id, install.id]
            large = any(view.payload == "" for view in views)
            matches.append((install, None if large else views))
    return matches


async def _read(
    connection: Connection,
    statement: str,
    keys: Sequence[InstallKey],
    schedule_id: UUID | None = None,
) -> dict[InstallKey, list[ScheduleView]]:
    listed: dict[InstallKey, list[ScheduleView]] = defaultdict(list)
    if not keys:
        return listed
    tenants, installs = [key[0] for key in keys], [key[1] for key in keys]
    due = await connection.fetch(DUE, tenants, installs)
    rows = await connection.fetch(
        statement,
        tenants,
        installs,
        [row["schedule_id"] for row in due],
        [row["due_at"] for row in due],
        schedule_id,
    )
    for row in rows:
        listed[row[0], row[1]].append(ScheduleView(*row[2:]))
    return listed

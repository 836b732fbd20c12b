"""A tenant's schedules for export, import and apply, by names instead of ids."""

from uuid import UUID

from msgspec import Struct

from service.storage.engine.connection import Connection
from service.storage.schedules.rows import COLUMNS, JOINS, Schedule, from_columns

PAGE = """
SELECT s.install_id, s.id, r.publisher, r.name AS extension, e.method, e.path, s.name, s.cron,
  s.timezone, coalesce(s.enabled, false) AS enabled, s.payload_json::text AS payload
FROM tenant_extension_schedule s
LEFT JOIN tenant_extension_install i ON i.tenant_id = s.tenant_id AND i.id = s.install_id
LEFT JOIN extension_registry r ON r.id = i.registry_id
LEFT JOIN extension_api_endpoint e ON e.id = s.endpoint_id
WHERE s.tenant_id = $1::text AND (s.install_id, s.id) > ($2::uuid, $3::uuid)
ORDER BY s.install_id, s.id
LIMIT $4::integer
"""

# In the order in which every change of several installs locks them.
INSTALLS = """
SELECT i.id, r.publisher, r.name
FROM tenant_extension_install i JOIN extension_registry r ON r.id = i.registry_id
WHERE i.tenant_id = $1::text
  AND (r.publisher, r.name) IN (SELECT * FROM unnest($2::text[], $3::text[]))
ORDER BY i.id
FOR NO KEY UPDATE OF i
"""

NAMES = """
SELECT s.install_id, s.name FROM tenant_extension_schedule s
WHERE s.tenant_id = $1::text AND s.install_id = ANY ($2::uuid[])
"""


OF_INSTALL = f"""
SELECT {COLUMNS} FROM tenant_extension_schedule s {JOINS}
WHERE s.tenant_id = $1::text AND s.install_id = $2::uuid
ORDER BY s.name, s.id
"""


class ExportRow(Struct, frozen=True):
    """A schedule; columns of missing extension or endpoint rows are None, ``payload`` is JSON."""

    install_id: UUID
    id: UUID
    publisher: str | None
    extension: str | None
    method: str | None
    path: str | None
    name: str | None
    cron: str
    timezone: str | None
    enabled: bool
    payload: str | None


async def page(
    connection: Connection, tenant_id: str, after: tuple[UUID, UUID], limit: int
) -> list[ExportRow]:
    """Return a tenant's schedules by install, then id, after (install, id)."""
    return [ExportRow(*row) for row in await connection.fetch(PAGE, tenant_id, *after, limit)]


async def lock_installs(
    connection: Connection, tenant_id: str, extensions: list[tuple[str, str]]
) -> dict[tuple[str, str], UUID]:
    """Lock a tenant's installs of these (publisher, name) and return their ids."""
    rows = await connection.fetch(
        INSTALLS,
        tenant_id,
        [publisher for publisher, _ in extensions],
        [name for _, name in extensions],
    )
    return {(row["publisher"], row["name"]): row["id"] for row in rows}


async def names(
    connection: Connection, tenant_id: str, install_ids: list[UUID]
) -> dict[UUID, list[str | None]]:
    """Return the names of the schedules of each install, one for each schedule."""
    by_install: dict[UUID, list[str | None]] = {id_: [] for id_ in install_ids}
    for row in await connection.fetch(NAMES, tenant_id, install_ids):
        by_install[row["install_id"]].append(row["name"])
    return by_install


async def of_install(connection: Connection, tenant_id: str, install_id: UUID) -> list[Schedule]:
    """Return all schedules of an install, by name; those without a name last."""
    rows = [from_columns(row) for row in await connection.fetch(OF_INSTALL, tenant_id, install_id)]
    return [row for row in rows if row is not None]

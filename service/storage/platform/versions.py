"""Versions of extensions, and moving an install to one."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from service.storage.engine.connection import Connection

COLUMNS = "v.id, v.version, v.api_endpoints::text AS manifest"

BY_ID = f"""
SELECT {COLUMNS} FROM extension_version v WHERE v.registry_id = $1::uuid AND v.id = $2::uuid
"""

BY_NAME = f"""
SELECT {COLUMNS} FROM extension_version v WHERE v.registry_id = $1::uuid AND v.version = $2::text
"""

PAGE = f"""
SELECT {COLUMNS} FROM extension_version v
WHERE v.id > $1::uuid AND ($2::uuid IS NULL OR v.id = $2)
ORDER BY v.id
LIMIT $3::integer
"""

INSTALLS_OF = """
SELECT i.version_id, i.tenant_id::text AS tenant_id, i.id FROM tenant_extension_install i
WHERE i.version_id = ANY ($1::uuid[])
ORDER BY i.tenant_id, i.id
"""

MOVE = """
UPDATE tenant_extension_install SET version_id = $3::uuid, updated_at = $4::timestamptz
WHERE tenant_id = $1::text AND id = $2::uuid
"""


class Version(Struct, frozen=True):
    """A version of an extension; ``manifest`` is the JSON text of its list of endpoints."""

    id: UUID
    version: str
    manifest: str | None


class VersionUser(Struct, frozen=True):
    """An install, of any tenant, and the version it is at."""

    version_id: UUID
    tenant_id: str
    install_id: UUID


async def find(
    connection: Connection, registry_id: UUID, *, id_: UUID | None, name: str | None
) -> Version | None:
    """Return a version of an extension by its id, else by its name."""
    if id_ is not None:
        row = await connection.fetchrow(BY_ID, registry_id, id_)
    else:
        row = await connection.fetchrow(BY_NAME, registry_id, name)
    return None if row is None else Version(*row)


async def page(connection: Connection, after: UUID, only: UUID | None, limit: int) -> list[Version]:
    """Return versions of all extensions by id, after ``after``; or only the given one."""
    return [Version(*row) for row in await connection.fetch(PAGE, after, only, limit)]


async def installs_of(connection: Connection, version_ids: Sequence[UUID]) -> list[VersionUser]:
    """Return the installs, of all tenants, that are at one of these versions."""
    return [VersionUser(*row) for row in await connection.fetch(INSTALLS_OF, version_ids)]


async def move(
    connection: Connection, tenant_id: str, install_id: UUID, version_id: UUID, now: datetime
) -> None:
    """Set an install's version."""
    await connection.execute(MOVE, tenant_id, install_id, version_id, now)

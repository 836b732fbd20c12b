"""Installs: their rights, and the row lock that serialises their changes."""

from collections.abc import Sequence
from uuid import UUID

import asyncpg
from msgspec import Struct

from service.storage.engine.connection import Connection
from service.storage.engine.parameters import many_rows

RIGHTS = {
    "install_id": "i.id",
    "tenant_id": "i.tenant_id",
    "registry_id": "i.registry_id",
    "version_id": "i.version_id",
    "install_enabled": "coalesce(i.is_enabled, false) AND coalesce(i.status, '') = 'enabled'",
    "granted": "i.granted_caps::text",
    "providers": "c.providers::text",
    "declared": "v.capabilities::text",
}
RIGHTS_COLUMNS = ", ".join(f"{expression} AS {name}" for name, expression in RIGHTS.items())

RIGHTS_FROM = """
  FROM tenant_extension_install i
  LEFT JOIN extension_version v ON v.id = i.version_id
  LEFT JOIN tenant_extension_install_config c
    ON c.tenant_id = i.tenant_id AND c.install_id = i.id
"""

RIGHTS_OF = f"""
SELECT given.place, {RIGHTS_COLUMNS}
{RIGHTS_FROM}
JOIN {many_rows({"tenant_id": "text", "install_id": "uuid"})}
  ON i.tenant_id = given.tenant_id AND i.id = given.install_id
"""

LOCK = f"""
SELECT {RIGHTS_COLUMNS}, v.api_endpoints::text AS manifest, v.id AS joined_version_id
{RIGHTS_FROM}
WHERE i.tenant_id = $1::text AND i.id = $2::uuid
FOR NO KEY UPDATE OF i
"""

TENANT_OF = "SELECT tenant_id FROM tenant_extension_install WHERE id = $1::uuid"


class Install(Struct, frozen=True):
    """An install and its rights; the capability columns and the manifest are unparsed JSON text."""

    id: UUID
    tenant_id: str
    registry_id: UUID
    version_id: UUID
    enabled: bool
    granted: str | None
    providers: str | None
    declared: str | None
    manifest: str | None = None


def from_row(row: asyncpg.Record, manifest: str | None = None) -> Install:
    """Read the columns of ``RIGHTS_COLUMNS``."""
    return Install(
        id=row["install_id"],
        tenant_id=str(row["tenant_id"]),
        registry_id=row["registry_id"],
        version_id=row["version_id"],
        enabled=row["install_enabled"],
        granted=row["granted"],
        providers=row["providers"],
        declared=row["declared"],
        manifest=manifest,
    )


async def tenant_of(connection: Connection, install_id: UUID) -> str | None:
    """Return the tenant of an install, None for an unknown install."""
    tenant_id = await connection.fetchval(TENANT_OF, install_id)
    return None if tenant_id is None else str(tenant_id)


async def rights_of(
    connection: Connection, tenant_ids: Sequence[str | None], install_ids: Sequence[UUID]
) -> list[Install | None]:
    """Return these installs in the given order; None where the tenant has no such install."""
    ordered: list[Install | None] = [None] * len(install_ids)
    for row in await connection.fetch(RIGHTS_OF, tenant_ids, install_ids):
        ordered[row["place"] - 1] = from_row(row)
    return ordered


async def lock(connection: Connection, tenant_id: str, install_id: UUID) -> Install | None:
    """Lock the install's row until the transaction ends, and return it with its manifest.

    Count in a later statement: one that waits for the lock does not see what its holder wrote.
    """
    row = await connection.fetchrow(LOCK, tenant_id, install_id)
    if row is not None and row["joined_version_id"] != row["version_id"]:
        # The holder moved the install to another version: a statement that waited sees the new
        # row joined with the old version. A second one sees both current, and does not wait.
        row = await connection.fetchrow(LOCK, tenant_id, install_id)
    return None if row is None else from_row(row, row["manifest"])

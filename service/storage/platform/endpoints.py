"""Endpoints of an extension version."""

from collections.abc import Sequence
from uuid import UUID

import asyncpg
from msgspec import Struct

from service.storage.engine.connection import Connection
from service.storage.platform.installs import RIGHTS_COLUMNS, RIGHTS_FROM, Install, from_row

LIST_WITH_INSTALL = f"""
SELECT {RIGHTS_COLUMNS}, v.api_endpoints::text AS manifest,
  e.id AS endpoint_id, e.method, e.path, e.handler
{RIGHTS_FROM}
LEFT JOIN extension_api_endpoint e ON e.version_id = i.version_id
WHERE i.tenant_id = $1::text AND i.id = $2::uuid
"""

LIST = """
SELECT id AS endpoint_id, method, path, handler
FROM extension_api_endpoint WHERE version_id = $1::uuid
"""

MATERIALISE = """
INSERT INTO extension_api_endpoint (version_id, method, path, handler)
SELECT $1::uuid, method, path, handler
FROM unnest($2::text[], $3::text[], $4::text[]) AS entry (method, path, handler)
ON CONFLICT (version_id, method, path) DO NOTHING
RETURNING id
"""


class Endpoint(Struct, frozen=True):
    """A (method, path) of a version, as stored."""

    id: UUID
    method: str
    path: str
    handler: str


def _endpoints(rows: Sequence[asyncpg.Record]) -> list[Endpoint]:
    return [
        Endpoint(row["endpoint_id"], row["method"], row["path"], row["handler"] or "")
        for row in rows
        if row["endpoint_id"] is not None
    ]


async def list_with_install(
    connection: Connection, tenant_id: str, install_id: UUID
) -> tuple[Install, list[Endpoint]] | None:
    """Return the install (with manifest) and its version's endpoints, in no order."""
    rows = await connection.fetch(LIST_WITH_INSTALL, tenant_id, install_id)
    if not rows:
        return None
    return from_row(rows[0], rows[0]["manifest"]), _endpoints(rows)


async def list_for_version(connection: Connection, version_id: UUID) -> list[Endpoint]:
    """Return a version's endpoints, in no order."""
    return _endpoints(await connection.fetch(LIST, version_id))


async def materialise(
    connection: Connection,
    version_id: UUID,
    entries: Sequence[tuple[str, str, str]],
) -> int:
    """Insert the missing of these (method, path, handler); return the number of new rows."""
    methods, paths, handlers = zip(*entries, strict=True) if entries else ((), (), ())
    # Rows are counted: on several nodes the command tag counts the given ones, new or not.
    return len(await connection.fetch(MATERIALISE, version_id, methods, paths, handlers))

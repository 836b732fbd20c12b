"""Rows of the platform's registry, as an installed extension leaves them."""

from collections.abc import Sequence
from typing import Any, TypeAlias
from uuid import UUID, uuid4

import asyncpg
import msgspec
from msgspec import Struct

from service.storage.engine.connection import Connection

Database: TypeAlias = "Connection | asyncpg.Pool"

SCHEDULER = "cap:scheduler.manage"
TICK = ("POST", "/api/tick")

ENDPOINTS: tuple[dict[str, Any], ...] = (
    {"method": "POST", "path": "/api/heartbeat", "handler": "heartbeat"},
    {"method": "GET", "path": "/api/status", "handler": "status"},
    {"method": "GET", "path": "/api/both", "handler": "read_both"},
    {"method": "POST", "path": "/api/both", "handler": "write_both"},
    {"method": "GET", "path": "/api/items/:id", "handler": "item"},
    {"method": "DELETE", "path": "/api/status", "handler": "forget"},
    {"method": "POST", "path": "/api/hidden", "handler": "hidden", "schedulable": False},
)


class Installed(Struct, frozen=True):
    """Ids of one installed extension."""

    tenant_id: str
    install_id: UUID
    registry_id: UUID
    version_id: UUID


async def install(
    connection: Database,
    *,
    tenant_id: str = "tenant-1",
    endpoints: Any = ENDPOINTS,
    declared: Any = (SCHEDULER,),
    granted: Any = (SCHEDULER,),
    enabled: bool = True,
    status: str = "enabled",
    content_hash: str = "sha256:00",
    materialised: tuple[str, str] | None = None,
) -> Installed:
    """Insert registry, version, bundle and install rows.

    With ``materialised``, an endpoint's method and path, its row is the version's only endpoint;
    otherwise none is materialised yet.
    """
    endpoints = endpoints if materialised is None else None
    registry_id, version_id, install_id = uuid4(), uuid4(), uuid4()
    await connection.execute(
        "INSERT INTO extension_registry (id, publisher, name) VALUES ($1, 'acme', $2)",
        registry_id,
        f"demo-{registry_id}",
    )
    await add_version(connection, registry_id, version_id, endpoints, declared, content_hash)
    await connection.execute(
        """INSERT INTO tenant_extension_install
             (id, tenant_id, registry_id, version_id, granted_caps, is_enabled, status)
           VALUES ($1, $2, $3, $4, $5, $6, $7)""",
        install_id,
        tenant_id,
        registry_id,
        version_id,
        as_json(granted),
        enabled,
        status,
    )
    if materialised is not None:
        await connection.execute(
            """INSERT INTO extension_api_endpoint (id, version_id, method, path, handler)
               VALUES ($1, $2, $3, $4, 'tick')""",
            uuid4(),
            version_id,
            *materialised,
        )
    return Installed(tenant_id, install_id, registry_id, version_id)


async def add_version(
    connection: Database,
    registry_id: UUID,
    version_id: UUID,
    endpoints: Any = ENDPOINTS,
    declared: Any = (SCHEDULER,),
    content_hash: str = "sha256:00",
) -> None:
    """Insert one more version of an extension, with a bundle."""
    await connection.execute(
        """INSERT INTO extension_version (id, registry_id, version, api_endpoints, capabilities)
           VALUES ($1, $2, $3, $4, $5)""",
        version_id,
        registry_id,
        f"1.0.{version_id.int % 1_000_000}",
        as_json(endpoints),
        as_json(declared),
    )
    await connection.execute(
        "INSERT INTO extension_bundle (version_id, content_hash) VALUES ($1, $2)",
        version_id,
        content_hash,
    )


async def counts(pool: asyncpg.Pool, *tables: str) -> dict[str, int]:
    """Return how many rows each table has."""
    return {table: await pool.fetchval(f"SELECT count(*) FROM {table}") for table in tables}


async def waits_for_a_lock(pool: asyncpg.Pool | asyncpg.Connection) -> bool:
    """Return whether some session of the test's database waits for a lock of another."""
    query = """SELECT count(*) FROM pg_stat_activity
      WHERE datname = current_database() AND wait_event_type = 'Lock'"""
    return bool(await pool.fetchval(query))


def as_json(value: Sequence[Any] | str | None) -> str | None:
    """Return the value as JSON text; a text is taken for JSON already."""
    return value if value is None or isinstance(value, str) else msgspec.json.encode(value).decode()

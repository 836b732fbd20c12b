"""Rows that the platform would have made: installs, endpoints, schedules and their timers."""

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec
from msgspec import Struct

from service.storage.engine.connection import Connection


class Installed(Struct, frozen=True):
    """An install with one endpoint of its version."""

    tenant_id: str
    install_id: UUID
    registry_id: UUID
    version_id: UUID
    endpoint_id: UUID


async def install(
    connection: Connection,
    tenant_id: str = "tenant-a",
    *,
    method: str = "POST",
    path: str = "/api/tick",
    config: dict[str, Any] | None = None,
    content_hash: str | None = "sha256:abc",
    capabilities: tuple[str, ...] = ("cap:scheduler.manage", "cap:http.fetch"),
) -> Installed:
    """Insert an extension with a version, a bundle, an endpoint and an enabled install."""
    made = Installed(tenant_id, uuid4(), uuid4(), uuid4(), uuid4())
    caps = msgspec.json.encode(capabilities).decode()
    await connection.execute(
        "INSERT INTO extension_registry (id, publisher, name) VALUES ($1, 'acme', $2)",
        made.registry_id,
        str(made.registry_id),
    )
    await connection.execute(
        "INSERT INTO extension_version (id, registry_id, version, capabilities)"
        " VALUES ($1, $2, '1.0.0', $3)",
        made.version_id,
        made.registry_id,
        caps,
    )
    if content_hash is not None:
        await connection.execute(
            "INSERT INTO extension_bundle (version_id, content_hash) VALUES ($1, $2)",
            made.version_id,
            content_hash,
        )
    await connection.execute(
        "INSERT INTO extension_api_endpoint (id, version_id, method, path, handler)"
        " VALUES ($1, $2, $3, $4, 'tick')",
        made.endpoint_id,
        made.version_id,
        method,
        path,
    )
    await connection.execute(
        "INSERT INTO tenant_extension_install"
        " (id, tenant_id, registry_id, version_id, granted_caps, config)"
        " VALUES ($1, $2, $3, $4, $5, $6)",
        made.install_id,
        tenant_id,
        made.registry_id,
        made.version_id,
        caps,
        msgspec.json.encode(config or {}).decode(),
    )
    return made


async def schedule(
    connection: Connection,
    made: Installed,
    *,
    cron: str = "*/5 * * * *",
    timezone: str = "UTC",
    enabled: bool = True,
    payload: object = None,
    due_at: datetime | None = None,
    missed: int = 0,
) -> UUID:
    """Insert a schedule, and its timer where ``due_at`` is given."""
    id_ = uuid4()
    await connection.execute(
        "INSERT INTO tenant_extension_schedule (id, install_id, tenant_id, endpoint_id, cron,"
        " timezone, enabled, payload_json) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        id_,
        made.install_id,
        made.tenant_id,
        made.endpoint_id,
        cron,
        timezone,
        enabled,
        None if payload is None else msgspec.json.encode(payload).decode(),
    )
    if due_at is not None:
        await connection.execute(
            "INSERT INTO ext_scheduler.timers VALUES ($1, $2, $3, $4, $5, $6, $7)",
            made.tenant_id,
            id_,
            made.install_id,
            cron,
            timezone,
            due_at,
            missed,
        )
    return id_


async def runs(connection: Connection, schedule_id: UUID) -> list[asyncpg.Record]:
    """Return the run records of a schedule by slot."""
    return await connection.fetch(
        "SELECT * FROM ext_scheduler.runs WHERE schedule_id = $1 ORDER BY slot, kind", schedule_id
    )


async def due_at(connection: Connection, schedule_id: UUID) -> datetime | None:
    """Return when the schedule's timer is due, None where it has none."""
    due: datetime | None = await connection.fetchval(
        "SELECT due_at FROM ext_scheduler.timers WHERE schedule_id = $1", schedule_id
    )
    return due

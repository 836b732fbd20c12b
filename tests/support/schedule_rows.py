"""Rows of schedules of an install with one materialised endpoint: their timers and runs."""

from datetime import datetime
from uuid import UUID, uuid4

import asyncpg
import msgspec

from service.storage.engine.connection import Connection
from tests.support.platform import Installed


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
        " timezone, enabled, payload_json)"
        " SELECT $1, $2, $3, id, $5, $6, $7, $8 FROM extension_api_endpoint WHERE version_id = $4",
        id_,
        made.install_id,
        made.tenant_id,
        made.version_id,
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

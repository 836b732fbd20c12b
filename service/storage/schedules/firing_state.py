"""The state by which the planner decides on due schedules: one statement per table."""

from collections.abc import Iterable, Sequence
from typing import TypeVar
from uuid import UUID

from msgspec import Struct

from service.storage.engine.connection import Connection
from service.storage.schedules.ownership import DRIVEN_BY_OTHER

T = TypeVar("T")

SCHEDULES = f"""
SELECT s.tenant_id::text AS tenant_id, s.id, s.install_id, s.cron, s.timezone
FROM tenant_extension_schedule s
WHERE s.id = ANY ($2::uuid[]) AND s.tenant_id = ANY ($1::text[]) AND s.enabled
  AND NOT {DRIVEN_BY_OTHER}
"""

ENABLED_INSTALLS = """
SELECT i.tenant_id::text AS tenant_id, i.id
FROM tenant_extension_install i
WHERE i.id = ANY ($2::uuid[]) AND i.tenant_id = ANY ($1::text[])
  AND i.is_enabled AND i.status = 'enabled'
"""

PAUSED_TENANTS = """
SELECT p.tenant_id FROM ext_scheduler.tenant_pauses p WHERE p.tenant_id = ANY ($1::text[])
"""


class ScheduleState(Struct, frozen=True):
    """An enabled schedule row of this service.

    ``fires`` unless its install is disabled or its tenant paused.

    ``cron`` may be anything, None included: other programs write these rows too.
    """

    install_id: UUID
    cron: str | None
    timezone: str | None
    fires: bool


async def read(
    connection: Connection, keys: Sequence[tuple[str, UUID]]
) -> dict[tuple[str, UUID], ScheduleState]:
    """Return the state of these schedules (tenant, id), of enabled ones of this service only."""
    tenants = _distinct(tenant for tenant, _ in keys)
    rows = await connection.fetch(SCHEDULES, tenants, [schedule for _, schedule in keys])
    if not rows:
        return {}
    installs = await connection.fetch(
        ENABLED_INSTALLS, tenants, _distinct(row["install_id"] for row in rows)
    )
    paused = {row["tenant_id"] for row in await connection.fetch(PAUSED_TENANTS, tenants)}
    enabled = {(row["tenant_id"], row["id"]) for row in installs}
    return {
        (row["tenant_id"], row["id"]): ScheduleState(
            install_id=row["install_id"],
            cron=row["cron"],
            timezone=row["timezone"],
            fires=row["tenant_id"] not in paused
            and (row["tenant_id"], row["install_id"]) in enabled,
        )
        for row in rows
    }


def _distinct(values: Iterable[T]) -> list[T]:
    return list(dict.fromkeys(values))

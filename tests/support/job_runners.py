"""Schedule rows as the platform writes them, with the handles of its own job runners."""

from typing import Any
from uuid import UUID, uuid4

import asyncpg
from msgspec import Struct

from service.rules.limits import Limits
from tests.support.admin import Admin, register
from tests.support.host import dispatcher


class Setting(Struct, frozen=True):
    """An administrator of tenant-1, and an install with an endpoint."""

    pool: asyncpg.Pool
    admin: Admin
    install_id: UUID
    endpoint_id: UUID

    async def foreign(self, **columns: Any) -> UUID:
        """Return a schedule row as another job runner's platform writes it."""
        id_ = uuid4()
        row: dict[str, Any] = {
            "id": id_,
            "install_id": self.install_id,
            "tenant_id": "tenant-1",
            "endpoint_id": self.endpoint_id,
            "cron": "0 * * * *",
            "timezone": "UTC",
            "enabled": True,
            "job_id": uuid4(),
            "runner_schedule_id": f"extsched:{self.install_id}:{id_}",
            **columns,
        }
        names, values = ", ".join(row), ", ".join(f"${n}" for n in range(1, len(row) + 1))
        await self.pool.execute(
            f"INSERT INTO tenant_extension_schedule ({names}) VALUES ({values})", *row.values()
        )
        return id_

    async def unowned(self, **columns: Any) -> UUID:
        """Return a schedule row that no job runner has left a handle in."""
        return await self.foreign(**{"job_id": None, "runner_schedule_id": None, **columns})

    async def timers(self) -> set[UUID]:
        """Return the schedules that have a timer ahead."""
        rows = await self.pool.fetch(
            "SELECT schedule_id FROM ext_scheduler.timers WHERE due_at > now()"
        )
        return {row["schedule_id"] for row in rows}


async def make_setting(pool: asyncpg.Pool, *, sharded: bool = False) -> Setting:
    """Register an install of tenant-1 with one endpoint, ``/a``."""
    admin = Admin(dispatcher(pool, Limits(changes_per_minute=1_000), sharded=sharded))
    registered = await register(admin, "1.0.0", "/a")
    endpoint_id = await pool.fetchval("SELECT id FROM extension_api_endpoint")
    return Setting(pool, admin, UUID(registered["installId"]), endpoint_id)

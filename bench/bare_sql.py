"""What PostgreSQL alone can do, through asyncpg: the least that any implementation asks of it."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import cycle
from uuid import UUID, uuid4

import asyncpg

from bench.data import CRON, PATH, BenchInstall
from service.storage.engine.connection import Connection

LIST = """
SELECT i.is_enabled, i.status, i.granted_caps::text, v.capabilities::text, c.providers::text,
  s.id, s.name, s.cron, s.timezone, s.enabled, s.payload_json::text, s.last_run_at,
  s.last_run_status, s.last_error, s.created_at, s.updated_at, s.revision,
  e.method, e.path, t.due_at
FROM tenant_extension_install i
LEFT JOIN extension_version v ON v.id = i.version_id
LEFT JOIN tenant_extension_install_config c ON c.tenant_id = i.tenant_id AND c.install_id = i.id
LEFT JOIN tenant_extension_schedule s ON s.tenant_id = i.tenant_id AND s.install_id = i.id
LEFT JOIN extension_api_endpoint e ON e.id = s.endpoint_id
LEFT JOIN ext_scheduler.timers t ON t.tenant_id = s.tenant_id AND t.schedule_id = s.id
WHERE i.tenant_id = $1 AND i.id = $2
ORDER BY s.created_at, s.id
"""
ENDPOINT = """
SELECT i.is_enabled, i.status, i.granted_caps::text, v.capabilities::text, e.id
FROM tenant_extension_install i
JOIN extension_version v ON v.id = i.version_id
LEFT JOIN extension_api_endpoint e
  ON e.version_id = i.version_id AND e.method = 'POST' AND e.path = $3
WHERE i.tenant_id = $1 AND i.id = $2
"""
SCHEDULE = """
INSERT INTO tenant_extension_schedule (id, install_id, tenant_id, endpoint_id, cron)
VALUES ($1, $2, $3, $4, $5)
"""
TIMER = """
INSERT INTO ext_scheduler.timers (tenant_id, schedule_id, install_id, cron, timezone, due_at)
VALUES ($1, $2, $3, $4, 'UTC', now() + interval '1 hour')
"""

Statement = Callable[[Connection, BenchInstall], Awaitable[object]]


async def list_one(connection: Connection, install: BenchInstall) -> object:
    """Run one select: the right to ask, and the schedules."""
    return await connection.fetch(LIST, install.tenant_id, install.id)


async def create_one(connection: Connection, install: BenchInstall) -> object:
    """Run one transaction: one select, one insert of a schedule and one of a timer."""
    schedule_id: UUID = uuid4()
    async with connection.transaction():
        found = await connection.fetchrow(ENDPOINT, install.tenant_id, install.id, PATH)
        assert found is not None
        ids = (schedule_id, install.id, install.tenant_id)
        await connection.execute(SCHEDULE, *ids, found["id"], CRON)
        await connection.execute(TIMER, install.tenant_id, schedule_id, install.id, CRON)
    return schedule_id


async def rate(
    url: str, connections: int, statement: Statement, installs: Sequence[BenchInstall], count: int
) -> float:
    """Return the calls a second over that many connections, each held."""
    async with asyncpg.create_pool(url, min_size=connections, max_size=connections) as pool:
        await _spread(pool, connections, statement, installs, count // 10)
        began = time.perf_counter()
        await _spread(pool, connections, statement, installs, count)
        return count / (time.perf_counter() - began)


async def _spread(
    pool: asyncpg.Pool,
    connections: int,
    statement: Statement,
    installs: Sequence[BenchInstall],
    count: int,
) -> None:
    left: Iterator[tuple[int, BenchInstall]] = zip(range(count), cycle(installs), strict=False)

    async def work() -> None:
        async with pool.acquire() as connection:
            for _, install in left:
                await statement(connection, install)

    await asyncio.gather(*(work() for _ in range(connections)))

"""A worker's start meets what others do to the same rows."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import asyncpg
import pytest

from service.bus.client import NatsConnection
from service.runtime.metrics import Metrics
from service.storage import consistency
from service.worker.runner_client import RunnerClient
from service.worker.worker import Worker
from service.worker.zone_data import TZDATA_KEY
from tests.support import schedule_rows
from tests.support.bus_service import a_client
from tests.support.eventually import eventually
from tests.support.keys import WORKER_KEY
from tests.support.platform import TICK, install

LOCK_TIMER = "SELECT FROM ext_scheduler.timers WHERE schedule_id = $1 FOR UPDATE"
LATER = "SELECT now() + interval '1 hour'"


@pytest.fixture
async def client(nats_url: str) -> AsyncIterator[NatsConnection]:
    async with a_client(nats_url) as client:
        yield client


async def waiting_timers(pool: asyncpg.Pool) -> list[UUID]:
    """Write two timers that a start recomputes, in the order in which it locks them."""
    async with pool.acquire() as connection:
        made = await install(connection, materialised=TICK)
        due_at = await connection.fetchval(LATER)
        ids = [await schedule_rows.schedule(connection, made, due_at=due_at) for _ in range(2)]
        await consistency.set_metadata_value(connection, TZDATA_KEY, "another release")
    return sorted(ids)


def worker(pool: asyncpg.Pool, client: NatsConnection) -> Worker:
    return Worker(pool, RunnerClient(client, lambda: WORKER_KEY), Metrics())


async def waits_for_lock(pool: asyncpg.Pool) -> bool:
    return await pool.fetchval(  # type: ignore[no-any-return]  # a boolean
        "SELECT count(*) > 0 FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )


async def started(pool: asyncpg.Pool) -> bool:
    async with pool.acquire() as connection:
        return await consistency.metadata_value(connection, TZDATA_KEY) != "another release"


async def test_a_deadlock_at_the_start_does_not_end_a_worker(
    pool: asyncpg.Pool, client: NatsConnection, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = await waiting_timers(pool)
    stopping = asyncio.Event()
    async with pool.acquire() as other, other.transaction():
        await other.execute("SET LOCAL deadlock_timeout = '1h'")  # the worker is the victim
        await other.execute(LOCK_TIMER, second)
        running = asyncio.create_task(worker(pool, client).run(stopping))
        await eventually(lambda: waits_for_lock(pool))
        await other.execute(LOCK_TIMER, first)
    await eventually(lambda: started(pool))
    stopping.set()
    await asyncio.wait_for(running, 60)
    deferred = [line.message for line in caplog.records if "start deferred" in line.message]
    assert len(deferred) == 1
    assert "DeadlockDetectedError" in deferred[0]


async def test_a_start_waits_for_a_row_that_is_locked_and_stops_when_it_is_to(
    database: str, pool: asyncpg.Pool, client: NatsConnection, caplog: pytest.LogCaptureFixture
) -> None:
    first, _ = await waiting_timers(pool)
    stopping = asyncio.Event()
    impatient = {"lock_timeout": "20ms"}
    async with (
        asyncpg.create_pool(database, min_size=1, max_size=3, server_settings=impatient) as own,
        pool.acquire() as other,
        other.transaction(),
    ):
        await other.execute(LOCK_TIMER, first)
        running = asyncio.create_task(worker(own, client).run(stopping))
        await eventually(lambda: "LockNotAvailableError" in caplog.text)
        stopping.set()
        await asyncio.wait_for(running, 60)
    assert not await started(pool)

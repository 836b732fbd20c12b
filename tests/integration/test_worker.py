"""A whole worker on pgqueuer: what it takes, hands back, and ends on."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from msgspec import structs

from devstack.embedded import Nats
from service.bus.client import NatsConnection
from service.rules.outcomes import RetryRules
from service.rules.planning import PlanningRules
from service.runtime.metrics import Metrics
from service.storage.engine import clock
from service.storage.runs import queue
from service.worker.firing import FiringSettings
from service.worker.planner import PlannerSettings
from service.worker.runner_client import RunnerClient
from service.worker.worker import Worker, WorkerEndedError, WorkerSettings
from tests.support import schedule_rows
from tests.support.bus_service import a_client
from tests.support.eventually import eventually
from tests.support.firing_stack import unhurried
from tests.support.keys import WORKER_KEY
from tests.support.platform import TICK, Installed, install
from tests.support.runner_double import ReceivedCall, RunnerDouble, bus_runner, status

FIRING = FiringSettings(
    worker="worker-1",
    retries=RetryRules(delays=(timedelta(milliseconds=300),), jitter=0.0),
    in_flight=40,
)
# The current minute's slot is never late: nothing here is about catching up.
PLANNER = PlannerSettings(rules=PlanningRules(late_after=timedelta(minutes=2)))
SETTINGS = WorkerSettings(
    planner=PLANNER, firing=FIRING, batch=20, dequeue_timeout_s=0.5, drain_s=60.0
)
IMPATIENT = structs.replace(SETTINGS, drain_s=0.1)


@pytest.fixture(autouse=True)
def patience() -> Iterator[None]:
    with unhurried():
        yield


@pytest.fixture
async def client(nats_url: str) -> AsyncIterator[NatsConnection]:
    async with a_client(nats_url) as client:
        yield client


@pytest.fixture
async def runner(nats_url: str) -> AsyncIterator[RunnerDouble]:
    async with bus_runner(nats_url) as runner:
        yield runner


@pytest.fixture
async def made(pool: asyncpg.Pool) -> Installed:
    async with pool.acquire() as connection:
        return await install(connection, materialised=TICK)


@asynccontextmanager
async def working(
    pool: asyncpg.Pool, client: NatsConnection, settings: WorkerSettings = SETTINGS
) -> AsyncIterator[Worker]:
    """Yield a worker within the context; it must stop when it is asked to."""
    worker = Worker(pool, RunnerClient(client, lambda: WORKER_KEY), Metrics(), settings)
    stopping = asyncio.Event()
    task = asyncio.create_task(worker.run(stopping))
    try:
        yield worker
    finally:
        stopping.set()
        await task


async def due_now(pool: asyncpg.Pool, made: Installed, count: int = 1) -> list[Any]:
    """Return the schedules whose slot is the current minute, due at once."""
    async with pool.acquire() as connection:
        slot = (await clock.read(connection)).replace(second=0, microsecond=0)
        return [
            await schedule_rows.schedule(connection, made, cron="0 0 1 1 *", due_at=slot)
            for _ in range(count)
        ]


def counted(pool: asyncpg.Pool, run_status: str) -> Callable[[], Any]:
    """Return how many runs have a status."""

    async def count() -> int:
        return await pool.fetchval(  # type: ignore[no-any-return]  # a count
            "SELECT count(*) FROM ext_scheduler.runs WHERE status = $1", run_status
        )

    return count


async def ended(pool: asyncpg.Pool, run_status: str, expected: int) -> bool:
    return await counted(pool, run_status)() == expected  # type: ignore[no-any-return]  # a count


async def test_due_schedules_are_called_once_each(
    pool: asyncpg.Pool, client: NatsConnection, runner: RunnerDouble, made: Installed
) -> None:
    await due_now(pool, made, 100)
    async with working(pool, client):
        await eventually(lambda: ended(pool, "success", 100))
        await eventually(lambda: empty(pool))
    assert len(runner.calls) == 100
    assert len({call.key for call in runner.calls}) == 100
    assert runner.max_in_flight <= FIRING.in_flight


async def empty(pool: asyncpg.Pool) -> bool:
    async with pool.acquire() as connection:
        return await queue.depth(connection) == 0


async def test_several_workers_share_the_work(
    pool: asyncpg.Pool, client: NatsConnection, runner: RunnerDouble, made: Installed
) -> None:
    await due_now(pool, made, 100)
    async with working(pool, client), working(pool, client):
        await eventually(lambda: ended(pool, "success", 100))
    assert len({call.key for call in runner.calls}) == len(runner.calls) == 100


async def test_failed_attempt_is_repeated_by_the_queue(
    pool: asyncpg.Pool, client: NatsConnection, runner: RunnerDouble, made: Installed
) -> None:
    async def second_time(call: ReceivedCall) -> bytes:
        return b'{"status":503}' if len(runner.calls) == 1 else b'{"status":200}'

    runner.script = second_time
    (id_,) = await due_now(pool, made)
    async with working(pool, client):
        await eventually(lambda: ended(pool, "success", 1))
    async with pool.acquire() as connection:
        (run,) = await schedule_rows.runs(connection, id_)
    assert run["attempts"] == 2
    assert len({call.key for call in runner.calls}) == 1


async def test_stop_finishes_runs_in_flight_and_releases_the_rest(
    pool: asyncpg.Pool, client: NatsConnection, runner: RunnerDouble, made: Installed
) -> None:
    release = asyncio.Event()

    async def held(_: ReceivedCall) -> bytes:
        await release.wait()
        return b'{"status":200}'

    runner.script = held
    await due_now(pool, made, 50)
    worker = Worker(pool, RunnerClient(client, lambda: WORKER_KEY), Metrics(), SETTINGS)
    stopping = asyncio.Event()
    task = asyncio.create_task(worker.run(stopping))
    await eventually(lambda: len(runner.calls) == FIRING.in_flight // 2)
    stopping.set()
    await asyncio.sleep(0)
    release.set()
    await task
    called = len(runner.calls)
    assert await ended(pool, "success", called)
    assert await ended(pool, "running", 0)
    assert await ended(pool, "queued", 50 - called)
    async with pool.acquire() as connection:
        assert await queue.depth(connection) == 50 - called


async def test_stop_beyond_its_drain_timeout_leaves_the_run_to_another_attempt(
    pool: asyncpg.Pool, client: NatsConnection, runner: RunnerDouble, made: Installed
) -> None:
    async def silence(_: ReceivedCall) -> None:
        await asyncio.Event().wait()

    runner.script = silence
    await due_now(pool, made)
    async with working(pool, client, IMPATIENT):
        await eventually(lambda: runner.calls)
    assert await ended(pool, "running", 1)
    job = await pool.fetchrow("SELECT * FROM ext_scheduler.pgqueuer")
    assert job is not None
    assert (job["status"], job["queue_manager_id"]) == ("queued", None)
    assert job["execute_after"] - job["updated"] == FIRING.lease


async def test_a_worker_goes_on_without_the_listener_that_it_lost(
    pool: asyncpg.Pool, client: NatsConnection, runner: RunnerDouble, made: Installed
) -> None:
    worker = Worker(pool, RunnerClient(client, lambda: WORKER_KEY), Metrics(), SETTINGS)
    stopping = asyncio.Event()
    task = asyncio.create_task(worker.run(stopping))
    await eventually(lambda: kill_listener(pool))
    await due_now(pool, made)
    await eventually(lambda: ended(pool, "success", 1))
    stopping.set()
    await asyncio.wait_for(task, 60)


async def kill_listener(pool: asyncpg.Pool) -> bool:
    return await pool.fetchval(  # type: ignore[no-any-return]  # a boolean
        "SELECT bool_or(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE datname = current_database() AND query LIKE 'LISTEN%'"
    )


async def test_resumed_worker_does_not_touch_its_successors_job(
    pool: asyncpg.Pool, client: NatsConnection, runner: RunnerDouble, made: Installed
) -> None:
    release = asyncio.Event()

    async def held(_: ReceivedCall) -> bytes:
        await release.wait()
        return b'{"status":200}'

    runner.script = held
    await due_now(pool, made)
    async with working(pool, client):
        await eventually(lambda: runner.calls)
        # As if another worker had taken the job over, and the run with it.
        await pool.execute("UPDATE ext_scheduler.pgqueuer SET queue_manager_id = gen_random_uuid()")
        await pool.execute("UPDATE ext_scheduler.runs SET fence = fence + 1, worker = 'other'")
        release.set()
    assert await ended(pool, "running", 1)
    assert await pool.fetchval("SELECT count(*) FROM ext_scheduler.pgqueuer") == 1


async def test_tenant_with_many_jobs_does_not_delay_another(
    pool: asyncpg.Pool, client: NatsConnection, runner: RunnerDouble, made: Installed
) -> None:
    async def slow_for_one(call: ReceivedCall) -> bytes | None:
        if call.request["context"]["tenant_id"] == made.tenant_id:
            await asyncio.Event().wait()
        return b'{"status":200}'

    runner.script = slow_for_one
    await due_now(pool, made, 200)
    async with working(pool, client, IMPATIENT):
        await eventually(lambda: runner.in_flight >= FIRING.in_flight // 2)
        async with pool.acquire() as connection:
            other = await install(connection, tenant_id="tenant-b", materialised=TICK)
        await due_now(pool, other)
        # Long before the first of those that hang gives up its place.
        await eventually(lambda: ended(pool, "success", 1), FIRING.runner_timeout_s * 0.8)
        assert runner.in_flight <= FIRING.in_flight // 2 + 1
        waiting = await pool.fetchval(
            "SELECT count(*) FROM ext_scheduler.runs WHERE status = 'queued'"
        )
        assert waiting >= 170, "what cannot be called waits in the database"


async def test_job_of_an_unknown_format_is_completed_without_effect(
    pool: asyncpg.Pool, client: NatsConnection, runner: RunnerDouble, made: Installed
) -> None:
    await pool.execute(
        "INSERT INTO ext_scheduler.pgqueuer (priority, status, entrypoint, payload)"
        " VALUES (0, 'queued', $1, 'rubbish')",
        queue.ENTRYPOINT,
    )
    await due_now(pool, made)
    async with working(pool, client):
        await eventually(lambda: ended(pool, "success", 1))
        await eventually(lambda: empty(pool))


async def test_calls_wait_during_an_outage_of_the_bus(
    pool: asyncpg.Pool, nats_server: Nats, made: Installed
) -> None:
    forever = {"max_reconnect_attempts": -1, "reconnect_time_wait": 1}
    async with a_client(nats_server.url, **forever) as client:
        nats_server.server.stop()
        await eventually(lambda: not client.is_connected)
        await due_now(pool, made)
        # However often the bus is back before the Runner is.
        tenacious = structs.replace(FIRING, retries=RetryRules(FIRING.retries.delays * 200))
        settings = structs.replace(SETTINGS, firing=tenacious)
        async with working(pool, client, settings):
            await eventually(lambda: handed_back(pool))
            assert await ended(pool, "queued", 1)
            nats_server.server.start()
            async with bus_runner(nats_server.url) as runner:
                runner.script = status(204)
                await eventually(lambda: ended(pool, "success", 1))
                assert len(runner.calls) == 1


async def handed_back(pool: asyncpg.Pool) -> bool:
    return await pool.fetchval("SELECT attempts > 0 FROM ext_scheduler.pgqueuer")  # type: ignore[no-any-return]  # a boolean


async def test_missing_database_at_the_start_is_reported_in_one_line(
    database: str, client: NatsConnection
) -> None:
    pool = await asyncpg.create_pool(database, min_size=1, max_size=2)
    worker = Worker(pool, RunnerClient(client, lambda: WORKER_KEY), Metrics(), SETTINGS)
    await pool.close()
    with pytest.raises(WorkerEndedError, match="the database is unavailable at the start: "):
        await worker.run(asyncio.Event())

"""A full disk, no memory, too many connections: not now, and never the end of what is running."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from service.cli.errors import EXIT_UNAVAILABLE, CommandError
from service.cli.migrate import _migrate
from service.runtime.metrics import Metrics
from service.storage.engine import clock
from service.storage.engine.errors import is_connection_lost, is_refusal, is_unavailable
from service.storage.runs.queue import JobDelay, JobPayload
from service.worker.firing.run_executor import DATABASE_RETRY_DELAY
from service.worker.job_consumer import JobConsumer, JobConsumerSettings
from service.worker.planner import Planner
from tests.support import schedule_rows
from tests.support.eventually import eventually
from tests.support.firing_stack import firing_stack
from tests.support.host import Caller, dispatcher
from tests.support.platform import TICK, install

CODES = ("53000", "53100", "53200", "53300", "53400")
every_code = pytest.mark.parametrize("code", CODES)


@asynccontextmanager
async def failing(pool: asyncpg.Pool, code: str, table: str, change: str) -> AsyncIterator[None]:
    """Yield a table whose changes the database refuses with a code, within the context."""
    await pool.execute(
        f"""CREATE FUNCTION scarce() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION 'scarce' USING ERRCODE = '{code}'; END $$;
            CREATE TRIGGER scarce BEFORE {change} ON {table}
            FOR EACH STATEMENT EXECUTE FUNCTION scarce()"""
    )
    yield
    await pool.execute("DROP FUNCTION scarce CASCADE")


@every_code
async def test_a_code_of_class_53_is_not_now(pool: asyncpg.Pool, code: str) -> None:
    with pytest.raises(asyncpg.PostgresError) as raised:
        await pool.execute(f"DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '{code}'; END $$")
    error = raised.value
    assert error.sqlstate == code
    assert (is_unavailable(error), is_refusal(error)) == (True, False)
    assert not is_connection_lost(error)


@every_code
async def test_a_planner_plans_once_there_is_room(
    pool: asyncpg.Pool, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with pool.acquire() as connection:
        made = await install(connection, materialised=TICK)
        now = await clock.read(connection)
        await schedule_rows.schedule(connection, made, cron="0 0 1 1 *", due_at=now)

    async def planned() -> bool:
        return await pool.fetchval("SELECT count(*) FROM ext_scheduler.runs") == 1  # type: ignore[no-any-return]  # a boolean

    stopping = asyncio.Event()
    async with failing(pool, code, "ext_scheduler.runs", "INSERT"):
        running = asyncio.create_task(Planner(pool, Metrics()).run(stopping))
        await eventually(lambda: "planning deferred" in caplog.text)
    await eventually(planned)
    stopping.set()
    await running


@every_code
async def test_jobs_are_claimed_once_there_is_room(
    pool: asyncpg.Pool, nats_url: str, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    handled: list[JobPayload] = []

    async def handle(job: JobPayload) -> JobDelay:
        handled.append(job)
        return None

    async with firing_stack(pool, nats_url) as stack:
        await stack.planned()
    consumer = JobConsumer(pool, handle, JobConsumerSettings(poll_s=0.2))
    async with failing(pool, code, "ext_scheduler.pgqueuer", "UPDATE"):
        running = asyncio.create_task(consumer.run())
        await eventually(lambda: "claim of jobs deferred" in caplog.text)
    await eventually(lambda: handled)
    consumer.stop()
    await running


@every_code
async def test_an_attempt_begins_and_ends_once_there_is_room(
    pool: asyncpg.Pool, nats_url: str, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with firing_stack(pool, nats_url) as stack:
        job = await stack.planned()
        async with failing(pool, code, "ext_scheduler.runs", "UPDATE"):
            assert await stack.executor.execute(job) == DATABASE_RETRY_DELAY
        async with failing(pool, code, "ext_scheduler.outbox", "INSERT"):
            execution = asyncio.create_task(stack.executor.execute(job))
            await eventually(lambda: "retrying result write" in caplog.text)
        assert await execution is None
        run = await stack.run(job)
        assert (run["status"], run["attempts"], len(stack.runner.calls)) == ("success", 1, 1)


@every_code
async def test_a_caller_is_told_to_try_again(pool: asyncpg.Pool, code: str) -> None:
    ask = Caller(dispatcher(pool), await install(pool))
    async with failing(pool, code, "tenant_extension_schedule", "INSERT"):
        refused = await ask("create", endpoint="/api/heartbeat", cron="0 * * * *")
    assert refused["code"] == "UNAVAILABLE"
    assert (await ask("create", endpoint="/api/heartbeat", cron="0 * * * *"))["success"]


@every_code
async def test_migrate_ends_with_the_status_of_an_unavailable_database(
    pool: asyncpg.Pool, database: str, code: str
) -> None:
    await pool.execute("DELETE FROM ext_scheduler.migrations WHERE version = 6")
    async with failing(pool, code, "ext_scheduler.migrations", "INSERT"):
        with pytest.raises(CommandError, match="scarce") as raised:
            await _migrate(database, "", "")
    assert raised.value.status == EXIT_UNAVAILABLE
    assert [each.version for each in await _migrate(database, "", "")] == [6]

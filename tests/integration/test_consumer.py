"""Jobs are taken once, kept alive while they are worked on, and given up in the right way."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from uuid import UUID, uuid4

import asyncpg
import pytest
from msgspec import structs

from service.storage.engine import clock
from service.storage.runs import queue
from service.storage.runs.queue import JobPayload
from service.storage.runs.queue_listener import PROBE_CHANNEL
from service.worker.job_consumer import JobConsumer, JobConsumerSettings, JobHandler
from tests.support.eventually import eventually
from tests.support.trouble import frozen

SETTINGS = JobConsumerSettings(batch=20, capacity=60, poll_s=0.2)
ALIVE = "SELECT bool_and(heartbeat > $1) FROM ext_scheduler.pgqueuer"


class Handled:
    """A handler that records its jobs and holds them until they are released."""

    def __init__(self) -> None:
        self.seen: list[UUID] = []
        self.in_hand = 0
        self.most = 0
        self.release = asyncio.Event()
        self.answer: timedelta | None = None

    async def __call__(self, job: JobPayload) -> timedelta | None:
        self.seen.append(job.run_id)
        self.in_hand += 1
        self.most = max(self.most, self.in_hand)
        try:
            await self.release.wait()
        finally:
            self.in_hand -= 1
        return self.answer


@asynccontextmanager
async def consuming(
    pool: asyncpg.Pool, handle: JobHandler, settings: JobConsumerSettings = SETTINGS
) -> AsyncIterator[JobConsumer]:
    consumer = JobConsumer(pool, handle, settings)
    task = asyncio.create_task(consumer.run())
    try:
        yield consumer
    finally:
        consumer.stop()
        await task


async def enqueued(pool: asyncpg.Pool, count: int = 1) -> list[UUID]:
    async with pool.acquire() as connection:
        now = await clock.read(connection)
        jobs = [JobPayload("t", uuid4(), uuid4(), now) for _ in range(count)]
        await queue.enqueue(connection, [queue.NewJob(t, str(t.run_id)) for t in jobs])
    return [job.run_id for job in jobs]


async def left(pool: asyncpg.Pool) -> int:
    return await pool.fetchval("SELECT count(*) FROM ext_scheduler.pgqueuer")  # type: ignore[no-any-return]  # a count


async def gone(pool: asyncpg.Pool) -> bool:
    return await left(pool) == 0


async def test_enqueued_jobs_are_handled_at_once_and_in_order(pool: asyncpg.Pool) -> None:
    handled, lazy = Handled(), structs.replace(SETTINGS, poll_s=3600.0)
    handled.release.set()
    async with consuming(pool, handled, lazy):
        await eventually(lambda: listening(pool))
        wanted = await enqueued(pool, 50)
        await eventually(lambda: gone(pool))
    assert handled.seen == wanted


async def listening(pool: asyncpg.Pool) -> bool:
    return await pool.fetchval(  # type: ignore[no-any-return]  # a boolean
        "SELECT count(*) > 0 FROM pg_stat_activity"
        " WHERE datname = current_database() AND query LIKE 'LISTEN%'"
    )


async def test_claimed_jobs_are_bounded_and_the_rest_stays_in_the_database(
    pool: asyncpg.Pool,
) -> None:
    handled = Handled()
    await enqueued(pool, 100)
    async with consuming(pool, handled):
        await eventually(lambda: handled.in_hand == SETTINGS.capacity)
        assert (
            await pool.fetchval(
                "SELECT count(*) FROM ext_scheduler.pgqueuer WHERE status = 'queued'"
            )
            == 100 - SETTINGS.capacity
        )
        handled.release.set()
        await eventually(lambda: gone(pool))
    assert len(set(handled.seen)) == len(handled.seen) == 100
    assert handled.most == SETTINGS.capacity


async def test_a_claimed_job_keeps_its_heartbeat_while_stopping(pool: asyncpg.Pool) -> None:
    # Between beats lies a quarter of it: the rest is for a machine that stands still meanwhile.
    handled, quick = Handled(), structs.replace(SETTINGS, heartbeat_s=10.0)
    await enqueued(pool, 5)
    async with consuming(pool, handled, quick) as consumer, consuming(pool, handled, quick):
        await eventually(lambda: handled.in_hand == 5)
        consumer.stop()
        for _ in range(2):
            now = await pool.fetchval("SELECT now()")
            await eventually(partial(pool.fetchval, ALIVE, now))
        assert len(handled.seen) == 5
        handled.release.set()


async def test_a_job_of_a_dead_consumer_is_taken_over(pool: asyncpg.Pool) -> None:
    handled = Handled()
    handled.release.set()
    wanted = await enqueued(pool)
    async with pool.acquire() as connection:
        taken = await queue.claim(connection, uuid4(), 10, timedelta(seconds=30))
    assert len(taken.jobs) == 1
    await pool.execute("UPDATE ext_scheduler.pgqueuer SET heartbeat = now() - interval '31 s'")
    async with consuming(pool, handled):
        await eventually(lambda: gone(pool))
    assert handled.seen == wanted


async def test_a_consumer_does_not_restart_its_own_job_after_missed_heartbeats(
    pool: asyncpg.Pool,
) -> None:
    handled = Handled()
    await enqueued(pool)
    async with consuming(pool, handled):
        await eventually(lambda: handled.in_hand == 1)
        await pool.execute("UPDATE ext_scheduler.pgqueuer SET heartbeat = now() - interval '31 s'")
        now = await pool.fetchval("SELECT now() - interval '30 s'")
        await eventually(lambda: pool.fetchval(ALIVE, now))
        handled.release.set()
        await eventually(lambda: gone(pool))
    assert len(handled.seen) == 1


async def test_a_job_taken_over_is_neither_completed_nor_released_by_its_former_owner(
    pool: asyncpg.Pool,
) -> None:
    for answer in (None, timedelta(0)):
        handled = Handled()
        handled.answer = answer
        await enqueued(pool)
        async with consuming(pool, handled):
            await eventually(lambda: handled.in_hand == 1)  # noqa: B023 - ends in this round
            await pool.execute(
                "UPDATE ext_scheduler.pgqueuer SET queue_manager_id = gen_random_uuid()"
            )
            handled.release.set()
            await eventually(lambda: handled.in_hand == 0)  # noqa: B023 - ends in this round
    assert (
        await pool.fetchval(
            "SELECT count(*) FROM ext_scheduler.pgqueuer WHERE status = 'picked' AND attempts = 0"
        )
        == 2
    )


async def test_an_error_of_a_handler_delays_only_its_own_job(
    pool: asyncpg.Pool, caplog: pytest.LogCaptureFixture
) -> None:
    async def faulty(_: JobPayload) -> None:
        raise KeyError("unexpected")

    await enqueued(pool)
    with caplog.at_level(logging.ERROR):
        async with consuming(pool, faulty):
            await eventually(lambda: handed_back(pool))
    assert "unexpected" in caplog.text
    row = await pool.fetchrow("SELECT execute_after - updated AS wait FROM ext_scheduler.pgqueuer")
    assert row is not None
    assert row["wait"] == timedelta(seconds=5)


async def handed_back(pool: asyncpg.Pool) -> bool:
    return await pool.fetchval("SELECT attempts > 0 FROM ext_scheduler.pgqueuer")  # type: ignore[no-any-return]  # a boolean


async def test_a_postponed_job_is_claimed_when_it_is_due(pool: asyncpg.Pool) -> None:
    handled, lazy = Handled(), structs.replace(SETTINGS, poll_s=3600.0)
    handled.release.set()
    await enqueued(pool)
    await pool.execute("UPDATE ext_scheduler.pgqueuer SET execute_after = now() + interval '0.5 s'")
    async with consuming(pool, handled, lazy):
        await eventually(lambda: gone(pool))


async def test_a_lost_listener_is_made_anew_and_hears_of_jobs(pool: asyncpg.Pool) -> None:
    handled, deaf = Handled(), structs.replace(SETTINGS, poll_s=3600.0)
    handled.release.set()
    async with consuming(pool, handled, deaf):
        (lost,) = await eventually(lambda: listeners(pool))
        await pool.execute("SELECT pg_terminate_backend($1)", lost)
        await eventually(lambda: replaced(pool, lost))
        await enqueued(pool)
        await eventually(lambda: gone(pool))


async def test_a_frozen_listener_is_replaced(pool: asyncpg.Pool) -> None:
    handled, deaf = Handled(), structs.replace(SETTINGS, poll_s=3600.0)
    handled.release.set()
    async with consuming(pool, handled, deaf):
        (lost,) = await eventually(lambda: listeners(pool))
        with frozen([lost]):
            await eventually(lambda: replaced(pool, lost))
            await enqueued(pool)
            await eventually(lambda: gone(pool))


async def replaced(pool: asyncpg.Pool, lost: int) -> bool:
    return bool(set(await listeners(pool)) - {lost})


async def listeners(pool: asyncpg.Pool) -> list[int]:
    rows = await pool.fetch(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
        f" AND query LIKE 'LISTEN%{PROBE_CHANNEL}%'"
    )
    return [row["pid"] for row in rows]

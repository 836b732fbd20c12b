"""What a consumer asks of the database and when, and what it does where the database fails."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import pairwise
from time import monotonic

import asyncpg
import pytest
from asyncpg.connection import LoggedQuery
from msgspec import Struct, structs

from service.storage.runs import queue
from service.storage.runs.queue import JobEnd, JobPayload
from service.storage.runs.queue_listener import ListenerLostError
from service.worker.job_consumer import JobConsumer, JobConsumerSettings
from tests.integration.test_consumer import Handled, consuming, enqueued, gone, left, listening
from tests.integration.test_firing_isolation import refuse
from tests.support.eventually import eventually
from tests.support.faulty_proxy import Disturbance, FaultyProxy, faulty_proxy
from tests.support.pools import pool_of

LAZY = JobConsumerSettings(batch=20, capacity=60, poll_s=3600.0, heartbeat_s=2.0)
"""Asks for jobs when it is told of some; beats every half second."""

ROUND_TRIPS = 30
"""Many more than a consumer makes until it waits for what it was told to wait for."""


class Asked(Struct):
    """A statement that was answered, and when (monotonic seconds)."""

    query: str
    arguments: tuple[object, ...]
    at_s: float


class Watched(Struct):
    """A pool, and the statements that it was used for."""

    pool: asyncpg.Pool
    asked: list[Asked]

    def of(self, statement: str) -> list[Asked]:
        return [each for each in self.asked if each.query == statement]

    async def beats(self, more: int) -> None:
        """Wait for heartbeats: the passing of time, as the consumer itself counts it."""
        before = len(self.of(queue.HEARTBEAT))
        await eventually(lambda: len(self.of(queue.HEARTBEAT)) >= before + more)


@pytest.fixture
async def watched(database: str) -> AsyncIterator[Watched]:
    asked: list[Asked] = []

    def note(logged: LoggedQuery) -> None:
        asked.append(Asked(logged.query, tuple(logged.args or ()), monotonic()))

    async def watch(connection: asyncpg.Connection) -> None:
        connection.add_query_logger(note)

    async with pool_of(database, min_size=1, max_size=6, init=watch) as pool:
        yield Watched(pool, asked)


@pytest.fixture
async def proxy(database: str) -> AsyncIterator[FaultyProxy]:
    async with faulty_proxy(database) as proxy:
        yield proxy


class Turns:
    """A handler whose jobs end one by one, when they are let go."""

    def __init__(self) -> None:
        self.in_hand = 0
        self._turns = asyncio.Semaphore(0)

    async def __call__(self, _: JobPayload) -> None:
        self.in_hand += 1
        try:
            await self._turns.acquire()
        finally:
            self.in_hand -= 1

    def end(self, count: int) -> None:
        for _ in range(count):
            self._turns.release()


async def test_a_beat_is_one_statement_for_all_jobs_in_hand(watched: Watched) -> None:
    handled = Handled()
    await enqueued(watched.pool, 5)
    async with consuming(watched.pool, handled, LAZY) as consumer:
        await eventually(lambda: handled.in_hand == consumer.running == 5)
        await watched.beats(3)
        beats = watched.of(queue.HEARTBEAT)
        handled.release.set()
    assert [len(set(beat.arguments[0])) for beat in beats] == [5] * len(beats)  # type: ignore[call-overload]  # ids
    assert {beat.arguments[1] for beat in beats} == {consumer.owner}


async def test_nothing_is_asked_while_there_is_nothing_to_do(watched: Watched) -> None:
    handled = Handled()
    async with consuming(watched.pool, handled, LAZY):
        await eventually(lambda: listening(watched.pool))
        await enqueued(watched.pool)
        await eventually(lambda: handled.in_hand == 1)
        await watched.beats(1)
        before = len(watched.of(queue.CLAIM_JOBS))
        await watched.beats(3)
        assert len(watched.of(queue.CLAIM_JOBS)) <= before + 1
        handled.release.set()


async def test_a_consumer_without_jobs_sends_no_heartbeat(watched: Watched) -> None:
    settings = structs.replace(LAZY, poll_s=0.2, heartbeat_s=0.4)
    async with consuming(watched.pool, Handled(), settings):
        await eventually(lambda: len(watched.of(queue.CLAIM_JOBS)) > 5)
    assert watched.of(queue.HEARTBEAT) == []


async def test_jobs_are_claimed_once_half_a_batch_has_room(watched: Watched) -> None:
    turns, full = Turns(), structs.replace(LAZY, capacity=20)
    async with consuming(watched.pool, turns, full) as consumer:
        await eventually(lambda: listening(watched.pool))
        await enqueued(watched.pool, 30)
        await eventually(lambda: turns.in_hand == 20)
        assert consumer.room == 0
        turns.end(9)
        await eventually(lambda: consumer.room == 9)
        await enqueued(watched.pool, 1)
        await watched.beats(2)
        assert (turns.in_hand, consumer.room) == (11, 9)
        turns.end(1)
        await eventually(lambda: turns.in_hand == 20)
        turns.end(100)
        await eventually(lambda: gone(watched.pool))


async def test_a_backlog_is_worked_off_without_being_told_of_it(watched: Watched) -> None:
    handled = Handled()
    handled.release.set()
    await enqueued(watched.pool, 100)
    async with consuming(watched.pool, handled, LAZY):
        await eventually(lambda: gone(watched.pool))
    assert len(handled.seen) == 100


async def test_abandoned_jobs_are_free_once_their_leases_have_ended(pool: asyncpg.Pool) -> None:
    handled = Handled()
    await enqueued(pool, 3)
    async with consuming(pool, handled, LAZY) as consumer:
        await eventually(lambda: handled.in_hand == 3)
        consumer.stop()
        assert consumer.abandon() == 3
    assert consumer.running == 0
    rows = await pool.fetch(
        "SELECT status::text, attempts, execute_after - updated AS wait FROM ext_scheduler.pgqueuer"
    )
    assert [tuple(row) for row in rows] == [("queued", 1, timedelta(seconds=42))] * 3


async def test_a_consumer_that_has_ended_leaves_nothing_behind(pool: asyncpg.Pool) -> None:
    before = asyncio.all_tasks()
    handled = Handled()
    handled.release.set()
    async with consuming(pool, handled, LAZY):
        await eventually(lambda: listening(pool))
        await enqueued(pool)
        await eventually(lambda: gone(pool))
    assert asyncio.all_tasks() == before


@pytest.mark.parametrize("starts", [True, False])
async def test_a_stopping_consumer_waits_for_jobs_that_may_be_started(
    pool: asyncpg.Pool, *, starts: bool
) -> None:
    in_hand, release = asyncio.Event(), asyncio.Event()

    async def work() -> JobEnd:
        in_hand.set()
        await release.wait()
        return JobEnd.WRITTEN

    consumer = JobConsumer(pool, Handled(), LAZY)
    running = asyncio.create_task(consumer.run())
    await eventually(lambda: listening(pool))
    with consumer.expecting():
        consumer.stop()
        for _ in range(ROUND_TRIPS):
            await left(pool)
        if starts:
            consumer.start(1, work)
    if starts:
        await in_hand.wait()
        assert not running.done()
        assert consumer.running == 1
        release.set()
    await running
    assert consumer.running == 0


async def test_a_job_of_an_unanswered_transaction_is_run_as_soon_as_that_has_ended(
    watched: Watched,
) -> None:
    done = asyncio.Event()

    async def work() -> None:
        done.set()

    consumer = JobConsumer(watched.pool, Handled(), LAZY)
    running = asyncio.create_task(consumer.run())
    await eventually(lambda: listening(watched.pool))
    with consumer.expecting():
        async with watched.pool.acquire() as connection:
            now = await connection.fetchval("SELECT now()")
            payload = JobPayload("t", consumer.owner, consumer.owner, now)
            job = queue.NewJob(payload, "key", owner=consumer.owner)
            (id_,) = (await queue.enqueue(connection, [job])).values()
        before = len(watched.of(queue.CLAIM_JOBS))
        consumer.start_if_owned({id_: work})
        await eventually(lambda: len(watched.of(queue.CLAIM_JOBS)) > before)
        assert not done.is_set()
    await eventually(done.is_set)
    await eventually(lambda: gone(watched.pool))
    consumer.stop()
    await running


WRITES = "CREATE SEQUENCE writes"
SCARCE = """
CREATE FUNCTION scarce() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF nextval('writes') <= {times} THEN RAISE EXCEPTION 'scarce' USING ERRCODE = '53000'; END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER scarce BEFORE DELETE ON ext_scheduler.pgqueuer
FOR EACH STATEMENT EXECUTE FUNCTION scarce()
"""


@pytest.mark.parametrize("times", [5, 100])
async def test_the_end_of_a_job_is_written_six_times_at_most_after_pauses_that_grow(
    watched: Watched, times: int, caplog: pytest.LogCaptureFixture
) -> None:
    handled = Handled()
    handled.release.set()
    await watched.pool.execute(WRITES)
    await watched.pool.execute(SCARCE.format(times=times))
    await enqueued(watched.pool)
    async with consuming(watched.pool, handled) as consumer:
        await eventually(lambda: handled.seen)
        await eventually(lambda: consumer.running == 0)
    tries = [each.at_s for each in watched.of(queue.END_JOBS)]
    pauses = [after - before for before, after in pairwise(tries)]
    assert all(pause >= 2**n / 8 for n, pause in enumerate(pauses))
    assert len(tries) == 6
    assert ("failed to release job" in caplog.text) == (times > 5)
    assert await left(watched.pool) == (1 if times > 5 else 0)


async def test_a_job_that_the_database_refuses_to_end_is_said_and_held_up_by_nobody(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    handled = Handled()
    await enqueued(watched.pool, 3)
    ids = [row[0] for row in await watched.pool.fetch("SELECT id FROM ext_scheduler.pgqueuer")]
    await refuse(watched.pool, "DELETE", "pgqueuer", f"OLD.id = {ids[1]}")
    async with consuming(watched.pool, handled) as consumer:
        await eventually(lambda: handled.in_hand == 3)
        handled.release.set()
        await eventually(lambda: consumer.running == 0)
    assert await left(watched.pool) == 1
    said = [each.getMessage() for each in caplog.records if each.levelno == logging.ERROR]
    assert said == [f"failed to release job {ids[1]}"]
    alone = [each for each in watched.of(queue.END_JOBS) if each.arguments[0] == [ids[1]]]
    assert len(alone) == 1


async def test_a_heartbeat_that_the_database_refuses_stops_no_other(watched: Watched) -> None:
    handled = Handled()
    await enqueued(watched.pool, 3)
    async with consuming(watched.pool, handled, LAZY):
        await eventually(lambda: handled.in_hand == 3)
        ids = [row[0] for row in await watched.pool.fetch("SELECT id FROM ext_scheduler.pgqueuer")]
        await refuse(watched.pool, "UPDATE", "pgqueuer", f"NEW.id = {ids[1]}")
        now = await watched.pool.fetchval("SELECT now()")
        alive = f"SELECT bool_and(heartbeat > $1) FROM ext_scheduler.pgqueuer WHERE id <> {ids[1]}"
        await eventually(lambda: watched.pool.fetchval(alive, now))
        handled.release.set()
        await eventually(lambda: gone(watched.pool))


@contextmanager
def cut(proxy: FaultyProxy) -> Iterator[None]:
    proxy.disturb(Disturbance.CUT)
    yield
    proxy.disturb(Disturbance.NONE)


RESTORE_S = 5.0


async def test_outages_are_outlasted_each_for_itself(
    proxy: FaultyProxy,
    pool: asyncpg.Pool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("service.worker.outage.RESTORE_S", RESTORE_S)
    handled = Handled()
    settings = structs.replace(LAZY, poll_s=0.2, heartbeat_s=0.4)
    async with pool_of(proxy.dsn, min_size=1, max_size=4) as own, consuming(own, handled, settings):
        for number in range(1, 3):
            began_s = monotonic()
            with cut(proxy):
                await eventually(lambda: "claim of jobs deferred" in caplog.text)
            await enqueued(pool)
            await eventually(lambda: handled.in_hand == number)  # noqa: B023 - ends in this round
            await eventually(lambda: monotonic() > began_s + RESTORE_S)  # noqa: B023 - as above
            caplog.clear()
        handled.release.set()
        await eventually(lambda: gone(pool))


async def test_heartbeats_that_find_no_database_are_put_off_together(
    proxy: FaultyProxy, pool: asyncpg.Pool, caplog: pytest.LogCaptureFixture
) -> None:
    handled = Handled()
    settings = structs.replace(LAZY, poll_s=0.2, heartbeat_s=0.4)
    await enqueued(pool, 2)
    async with pool_of(proxy.dsn, min_size=1, max_size=4) as own, consuming(own, handled, settings):
        await eventually(lambda: handled.in_hand == 2)
        with cut(proxy):
            await eventually(lambda: caplog.text.count("heartbeat of 2 jobs deferred") > 2)
        assert "heartbeat of 1 jobs" not in caplog.text
        now = await pool.fetchval("SELECT now()")
        alive = "SELECT bool_and(heartbeat > $1) FROM ext_scheduler.pgqueuer"
        await eventually(lambda: pool.fetchval(alive, now))
        handled.release.set()
        await eventually(lambda: gone(pool))


async def test_a_consumer_that_can_no_longer_listen_ends_with_that(
    proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.worker.job_notifications.RESTORE_S", 0.0)
    async with pool_of(proxy.dsn, min_size=1, max_size=4) as own:
        running = asyncio.create_task(JobConsumer(own, Handled(), LAZY).run())
        await eventually(lambda: listening(own))
        for _ in range(ROUND_TRIPS):
            await listening(own)  # a claim that is cut off would notice by itself
        proxy.disturb(Disturbance.CUT)
        with pytest.raises(ListenerLostError):
            await asyncio.wait_for(running, 60)
        proxy.disturb(Disturbance.NONE)

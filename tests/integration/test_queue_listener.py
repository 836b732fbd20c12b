"""The listener hears of jobs at once, and knows when it no longer would."""

import asyncio
from uuid import uuid4

import asyncpg
import pytest

from service.storage.engine import clock
from service.storage.runs import queue
from service.storage.runs.queue_listener import (
    PROBE_CHANNEL,
    Listener,
    ListenerLostError,
    listening,
)
from tests.support.eventually import eventually
from tests.support.pools import pool_of

CHANNEL = queue.SETTINGS.channel


async def test_a_listener_is_notified_of_enqueued_jobs_only(pool: asyncpg.Pool) -> None:
    heard: list[None] = []
    async with listening(pool, lambda: heard.append(None)) as listener:
        for rubbish in ("", "{", '{"operation": 1}', '"x"', "null"):
            await pool.execute("SELECT pg_notify($1, $2)", queue.SETTINGS.channel, rubbish)
        await pool.execute("DELETE FROM ext_scheduler.pgqueuer")
        await pool.execute("SELECT pg_notify($1, $2)", PROBE_CHANNEL, str(uuid4()))
        await listener.probe(60)
        assert heard == []
        async with pool.acquire() as connection:
            now = await clock.read(connection)
            await queue.enqueue(
                connection, [queue.NewJob(queue.JobPayload("t", uuid4(), uuid4(), now), "key")]
            )
        await eventually(lambda: heard == [None])
        assert not listener.lost.is_set()


async def test_each_listener_receives_its_own_probe(pool: asyncpg.Pool) -> None:
    async with (
        listening(pool, lambda: None) as one,
        listening(pool, lambda: None) as other,
    ):
        await asyncio.gather(one.probe(60), other.probe(60))


async def test_a_listener_without_notifications_is_reported_lost(pool: asyncpg.Pool) -> None:
    deaf = Listener(pool, lambda: None)
    with pytest.raises(ListenerLostError):
        await deaf.probe(0.2)


async def test_a_killed_connection_is_noticed_at_once(pool: asyncpg.Pool) -> None:
    async with listening(pool, lambda: None) as listener:
        await pool.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND query LIKE 'LISTEN%'"
        )
        await asyncio.wait_for(listener.lost.wait(), 60)


async def test_the_connection_that_listened_is_used_for_nothing_else(database: str) -> None:
    heard: list[object] = []
    async with pool_of(database, min_size=1, max_size=1, reset=kept) as pool:
        before = await pool.fetchval("SELECT pg_backend_pid()")
        async with listening(pool, lambda: heard.append(None)) as listener:
            assert pool.get_idle_size() == 0  # it is the one that listens
        assert await pool.fetchval("SELECT pg_backend_pid()") != before
        await pool.execute('SELECT pg_notify($1, \'{"operation": "insert"}\')', CHANNEL)
        await pool.execute("SELECT 1")  # what was notified has arrived before its answer
        assert heard == []
        assert not listener.lost.is_set()
    assert not listener.lost.is_set()  # nor does it watch a connection that is no longer its own


async def kept(_connection: asyncpg.Connection) -> None:
    """Leave a session as it is, as the service's pools do."""


async def test_a_listener_that_is_cancelled_while_it_begins_leaves_none(database: str) -> None:
    async def listen() -> None:
        async with listening(pool, lambda: None):
            await asyncio.Event().wait()

    async with pool_of(database, min_size=1, max_size=1, reset=kept) as pool:
        for turns in range(60):
            assert await pool.fetch("SELECT pg_listening_channels()") == []
            task = asyncio.create_task(listen())
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

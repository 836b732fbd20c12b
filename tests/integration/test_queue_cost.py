"""What taking jobs costs, whatever the database believed when the worker was idle."""

from datetime import timedelta
from uuid import uuid4

import asyncpg

from service.storage.engine import clock
from service.storage.runs import queue
from tests.support.pools import pool_of

BACKLOG, BATCH = 5_000, 100
READ = """
SELECT coalesce(sum(idx_tup_read), 0)::integer + (
  SELECT seq_tup_read::integer FROM pg_stat_user_tables
  WHERE relid = 'ext_scheduler.pgqueuer'::regclass)
FROM pg_stat_user_indexes WHERE relid = 'ext_scheduler.pgqueuer'::regclass
"""


async def rows_read(pool: asyncpg.Pool) -> int:
    """Return the rows of the queue that the pool's only connection has read so far."""
    await pool.execute("SELECT pg_stat_force_next_flush()")
    count: int = await pool.fetchval(READ)
    return count


async def test_the_cost_of_a_batch_is_independent_of_the_queue_length(database: str) -> None:
    async with pool_of(database, min_size=1, max_size=1) as pool:
        await pool.execute("VACUUM ANALYZE ext_scheduler.pgqueuer")
        me = uuid4()

        async def taken(limit: int = BATCH) -> queue.ClaimedJobs:
            async with pool.acquire() as connection:
                return await queue.claim(connection, me, limit, timedelta(seconds=30))

        for _ in range(8):  # after five the database keeps a plan
            assert (await taken()).jobs == []
        await enqueue(pool, delay=timedelta(hours=1))
        before = await rows_read(pool)
        for _ in range(8):
            wait = (await taken()).wait
            assert wait is not None
            assert wait > timedelta(minutes=50)
        assert await rows_read(pool) - before < 100
        await enqueue(pool)
        before = await rows_read(pool)
        for _ in range(5):
            assert len((await taken()).jobs) == BATCH
        assert await rows_read(pool) - before < BACKLOG


async def enqueue(pool: asyncpg.Pool, delay: timedelta = timedelta(0)) -> None:
    """Enqueue a backlog from many tenants."""
    async with pool.acquire() as connection, connection.transaction():
        now = await clock.read(connection)
        jobs = [
            queue.NewJob(
                queue.JobPayload("t", uuid4(), uuid4(), now),
                str(uuid4()),
                priority=-(n % 10),
                delay=delay,
            )
            for n in range(BACKLOG)
        ]
        await queue.enqueue(connection, jobs)

"""What one occurrence writes, from its timer to its published event."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from service.rules.planning import SlotCache
from service.storage.runs.queue import JobEnd
from service.worker.outbox_publisher import OutboxPublisher
from service.worker.planner import PlannerSettings, plan_due
from tests.integration.test_direct_claims import batch
from tests.support import schedule_rows
from tests.support.firing_stack import SLOT, Stack, firing_stack
from tests.support.pools import pool_of

COUNT = 50

# Of an update that is not heap-only, and of an insert, each index may get an entry. A partial index
# counts like any other: this is an upper bound.
WRITTEN = """
SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)::integer AS rows,
  coalesce(sum((n_tup_ins + n_tup_upd - n_tup_hot_upd)
    * (SELECT count(*) FROM pg_index i WHERE i.indrelid = s.relid)), 0)::integer AS entries
FROM pg_stat_user_tables s
"""

MAX_ROWS = 10
"""Run, job, hold and event are inserted, the last three deleted again; run, schedule and timer are
updated."""
MAX_ENTRIES = 22


@pytest.fixture
async def only_connection(database: str) -> AsyncIterator[asyncpg.Pool]:
    """Yield a pool of one: a session knows at once what it has written itself."""
    async with pool_of(database, min_size=1, max_size=1) as pool:
        yield pool


async def written(pool: asyncpg.Pool) -> asyncpg.Record:
    await pool.execute("SELECT pg_stat_force_next_flush()")
    row = await pool.fetchrow(WRITTEN)
    assert row is not None
    return row


async def test_an_occurrence_writes_ten_rows(only_connection: asyncpg.Pool, nats_url: str) -> None:
    async with firing_stack(only_connection, nats_url) as stack:
        async with only_connection.acquire() as connection:
            for _ in range(COUNT):
                await schedule_rows.schedule(connection, stack.made, due_at=SLOT)
        before = await written(only_connection)
        await fire(stack)
        after = await written(only_connection)
        assert len(stack.runner.calls) == COUNT
        assert await stack.pool.fetchval("SELECT count(*) FROM ext_scheduler.outbox") == 0
    assert (after["rows"] - before["rows"]) / COUNT == MAX_ROWS
    assert (after["entries"] - before["entries"]) / COUNT <= MAX_ENTRIES


async def fire(stack: Stack) -> None:
    """Plan and claim, call, write the results and end the jobs, publish the events."""
    claims = batch(stack)
    async with stack.pool.acquire() as connection:
        await plan_due(connection, stack.clock.now, PlannerSettings(), SlotCache(), claims)
    assert len(claims.attempts) == COUNT
    done = await asyncio.gather(*map(stack.executor.execute, claims.attempts.values()))
    assert set(done) == {JobEnd.WRITTEN}
    assert await OutboxPublisher(stack.pool, stack.client).publish_batch() == COUNT

"""Connections kept between short uses: shared, given back, and never kept where they may be bad."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial

import asyncpg
import pytest

from service.storage.engine.acquire import acquired
from service.storage.engine.kept_connections import KeptConnections
from tests.support.eventually import eventually
from tests.support.pools import pool_of

SIZE = 2


@pytest.fixture
async def pool(database: str) -> AsyncIterator[asyncpg.Pool]:
    """Yield a pool of two connections, all made, and end it with those that are still kept."""
    async with pool_of(database, min_size=SIZE, max_size=SIZE) as two:
        yield two
        two.terminate()


@pytest.fixture
def kept(pool: asyncpg.Pool) -> KeptConnections:
    return KeptConnections(partial(acquired, pool), keep_s=3600)


async def server_process(kept: KeptConnections) -> int:
    """Use a connection, and return which server process serves it."""
    async with kept.connection() as connection:
        pid: int = await connection.fetchval("SELECT pg_backend_pid()")
        return pid


async def test_uses_that_follow_each_other_have_the_same_connection(
    pool: asyncpg.Pool, kept: KeptConnections
) -> None:
    async with kept.connection() as connection:
        first = connection
    async with kept.connection() as connection:
        assert connection is first
    assert pool.get_idle_size() == SIZE - 1


async def test_what_is_kept_unused_goes_back_to_the_pool(pool: asyncpg.Pool) -> None:
    briefly = KeptConnections(partial(acquired, pool))
    async with briefly.connection(), briefly.connection():
        pass
    await eventually(lambda: pool.get_idle_size() == SIZE)


async def test_what_is_used_for_long_goes_back_after_its_use(pool: asyncpg.Pool) -> None:
    briefly = KeptConnections(partial(acquired, pool), keep_s=0)
    async with briefly.connection() as connection:
        await connection.execute("SELECT pg_sleep(0.01)")
    assert pool.get_idle_size() == SIZE


async def test_more_uses_than_connections_take_turns(kept: KeptConnections) -> None:
    pids = await asyncio.gather(*(server_process(kept) for _ in range(10 * SIZE)))
    assert len(set(pids)) == SIZE


async def test_a_failed_use_gives_its_connection_back(
    pool: asyncpg.Pool, kept: KeptConnections
) -> None:
    with pytest.raises(asyncpg.DivisionByZeroError):
        async with kept.connection() as connection:
            await connection.execute("SELECT 1 / 0")
    assert pool.get_idle_size() == SIZE


async def test_a_server_that_no_longer_answers_has_unused_connections_made_anew_too(
    kept: KeptConnections,
) -> None:
    async with kept.connection() as silent:
        unused = await server_process(kept)
        before = {unused, silent.get_server_pid()}
        assert len(before) == SIZE
        with pytest.raises(TimeoutError):
            await fail(kept)
    async with kept.connection() as one, kept.connection() as other:
        assert not {one.get_server_pid(), other.get_server_pid()} & before


async def fail(kept: KeptConnections) -> None:
    """Use a connection whose server does not answer in time."""
    async with kept.connection() as connection:
        await connection.execute("SELECT pg_sleep(60)", timeout=0.01)


async def test_a_connection_in_a_transaction_is_not_kept(
    pool: asyncpg.Pool, kept: KeptConnections
) -> None:
    async with kept.connection() as connection:
        await connection.execute("BEGIN")
    assert pool.get_idle_size() == SIZE
    async with kept.connection() as connection:
        assert not connection.is_in_transaction()


async def test_a_connection_that_ended_unused_is_not_used_again(kept: KeptConnections) -> None:
    async with kept.connection() as connection:
        ended = await connection.fetchval("SELECT pg_backend_pid()")
        unused = connection
    unused.terminate()
    assert await server_process(kept) != ended

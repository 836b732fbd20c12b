"""What one connection tells of the server decides about all the others of its pool."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import nats.errors
import pytest

from service.storage.engine.acquire import acquired, index_only_transaction
from service.storage.engine.pool import PoolSettings, open_pool
from tests.support.pools import pool_of
from tests.support.trouble import frozen

SIZE = 3


@pytest.fixture
async def three(database: str) -> AsyncIterator[asyncpg.Pool]:
    """Yield a pool of three connections, all made."""
    async with pool_of(database, min_size=SIZE, max_size=SIZE) as pool:
        yield pool


async def backends(pool: asyncpg.Pool) -> set[int]:
    """Return which server processes serve the pool."""
    taken = [await pool.acquire() for _ in range(SIZE)]
    pids = {connection.get_server_pid() for connection in taken}
    for connection in taken:
        await pool.release(connection)
    return pids


async def test_a_server_that_no_longer_answers_makes_the_pool_reconnect(
    three: asyncpg.Pool,
) -> None:
    before = await backends(three)
    with pytest.raises(TimeoutError):
        async with acquired(three) as connection:
            await connection.execute("SELECT pg_sleep(60)", timeout=0.01)
    assert not await backends(three) & before


async def test_a_connection_that_ends_in_a_transaction_names_its_own_error(
    three: asyncpg.Pool,
) -> None:
    with pytest.raises(asyncpg.PostgresError, match="terminating connection"):
        async with acquired(three) as connection, index_only_transaction(connection):
            await connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")


async def test_a_connection_that_no_longer_answers_is_closed_without_a_log_line(
    database: str,
) -> None:
    settings = PoolSettings(database, 1, "test", 1_000, 1_000, 256)
    async with await open_pool(settings) as pool:
        async with acquired(pool) as connection:
            silent = connection.get_server_pid()
        with frozen([silent]):
            await pool.expire_connections()
            others = asyncio.all_tasks()
            async with acquired(pool) as connection:
                assert connection.get_server_pid() != silent
            closing = asyncio.all_tasks() - others
            assert await asyncio.gather(*closing, return_exceptions=True) == [None]


async def test_a_server_that_became_a_standby_makes_the_pool_reconnect(
    three: asyncpg.Pool,
) -> None:
    before = await backends(three)
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        async with acquired(three) as connection, connection.transaction(readonly=True):
            await connection.execute("CREATE TABLE never_made ()")
    assert not await backends(three) & before


@pytest.mark.parametrize(
    "statement", ["SELECT 1 / 0", "SELECT pg_cancel_backend(pg_backend_pid())"]
)
async def test_an_error_of_one_statement_does_not_affect_the_pool(
    three: asyncpg.Pool, statement: str
) -> None:
    before = await backends(three)
    with pytest.raises(asyncpg.PostgresError):
        async with acquired(three) as connection:
            await connection.execute(statement)
    assert await backends(three) == before


async def test_a_wait_for_nats_between_statements_does_not_affect_the_pool(
    three: asyncpg.Pool,
) -> None:
    before = await backends(three)
    with pytest.raises(nats.errors.TimeoutError):
        async with acquired(three):
            raise nats.errors.TimeoutError
    assert await backends(three) == before

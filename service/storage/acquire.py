"""Taking a connection from a pool: never without a limit to the wait."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from service.storage.connection import Connection

TIMEOUT_S = 5.0

# What fires is found by keys, a few hundred at a time. Statistics lag behind tables that grow by
# thousands of rows a second, and plans made for an empty one read it whole.
BY_KEYS = """
SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off
"""


@asynccontextmanager
async def acquired(pool: asyncpg.Pool, timeout_s: float = TIMEOUT_S) -> AsyncIterator[Connection]:
    """Give a connection for the time of the block. Raises TimeoutError when none is to be had."""
    connection = await pool.acquire(timeout=timeout_s)
    try:
        yield connection
    finally:
        await pool.release(connection)


@asynccontextmanager
async def by_keys(connection: Connection) -> AsyncIterator[None]:
    """A transaction whose statements look rows up by their keys, whatever the statistics say."""
    async with connection.transaction():
        await connection.execute(BY_KEYS)
        yield

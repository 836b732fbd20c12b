"""Taking a connection from a pool: never without a limit to the wait."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from service.storage.connection import Connection

TIMEOUT_S = 5.0


@asynccontextmanager
async def acquired(pool: asyncpg.Pool, timeout_s: float = TIMEOUT_S) -> AsyncIterator[Connection]:
    """Give a connection for the time of the block. Raises TimeoutError when none is to be had."""
    connection = await pool.acquire(timeout=timeout_s)
    try:
        yield connection
    finally:
        await pool.release(connection)

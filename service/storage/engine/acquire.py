"""Taking a connection from a pool: never without a limit to the wait."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from service.storage.engine.connection import Connection
from service.storage.engine.errors import is_the_servers

TIMEOUT_S = 5.0

# What fires is found by keys, a few hundred at a time. Statistics lag behind tables that grow by
# thousands of rows a second, and plans made for an empty one read it whole.
BY_KEYS = """
SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off;
"""

# A plan made for an empty queue is kept for as long as the connection lasts, and statistics lag
# behind a backlog that came within a second: such a plan reads, sorts and joins all of it for each
# batch that is taken (seen: 800 ms with 10,000 waiting, against 5).
IN_ORDER = BY_KEYS + "SET LOCAL enable_sort = off; SET LOCAL enable_bitmapscan = off"


@asynccontextmanager
async def acquired(pool: asyncpg.Pool, timeout_s: float = TIMEOUT_S) -> AsyncIterator[Connection]:
    """Give a connection for the time of the block. Raises TimeoutError when none is to be had."""
    connection = await pool.acquire(timeout=timeout_s)
    try:
        yield connection
    except Exception as error:
        if is_the_servers(error):
            # Each of the others would be found out only by somebody who waits for it as long.
            await pool.expire_connections()
        raise
    finally:
        await pool.release(connection)


@asynccontextmanager
async def by_keys(connection: Connection, how: str = BY_KEYS) -> AsyncIterator[None]:
    """A transaction whose statements look rows up by their keys, whatever the statistics say.

    It begins and is set up in one round trip, so the driver does not know of it: no transactions
    of its own inside.
    """
    await connection.execute("BEGIN;" + how)
    try:
        yield
    except BaseException:
        if not connection.is_closed():
            await connection.execute("ROLLBACK")
        raise
    await connection.execute("COMMIT")

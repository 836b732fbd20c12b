"""Acquiring a connection from a pool, with a timeout, and transactions that use indexes alone."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from service.storage.engine.connection import Connection
from service.storage.engine.errors import is_server_failure

ACQUIRE_TIMEOUT_S = 5.0

# Firing looks rows up by keys, a few hundred at a time. Statistics lag behind tables that grow by
# thousands of rows a second, and plans made for an empty table read all of it.
INDEX_ONLY = """
SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off;
"""

# A plan made for an empty queue is kept for as long as the connection lasts, and statistics lag
# behind a backlog that came within a second: such a plan reads, sorts and joins all of it for each
# batch that is claimed (measured: 800 ms with 10,000 waiting, against 5).
INDEX_ORDER = INDEX_ONLY + "SET LOCAL enable_sort = off; SET LOCAL enable_bitmapscan = off"


@asynccontextmanager
async def acquired(
    pool: asyncpg.Pool, timeout_s: float = ACQUIRE_TIMEOUT_S
) -> AsyncIterator[Connection]:
    """Acquire a connection within the context. Raises TimeoutError when none becomes free."""
    connection = await pool.acquire(timeout=timeout_s)
    try:
        yield connection
    except Exception as error:
        if is_server_failure(error):
            # Each of the others would fail a caller in the same way, after the same wait.
            await pool.expire_connections()
        raise
    finally:
        await pool.release(connection)


@asynccontextmanager
async def index_only_transaction(
    connection: Connection, planner_settings: str = INDEX_ONLY
) -> AsyncIterator[None]:
    """Run a transaction whose statements use indexes, regardless of the statistics.

    It begins and is set up in one round trip, unknown to the driver: do not open one of the
    driver's transactions inside.
    """
    await connection.execute("BEGIN;" + planner_settings)
    try:
        yield
    except BaseException as error:
        if not has_ended(connection):
            await _roll_back(connection, error)
        raise
    await connection.execute("COMMIT")


def has_ended(connection: Connection) -> bool:
    """Return whether a connection has ended: the pool has taken it back, and refuses to say."""
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:
        return True


async def _roll_back(connection: Connection, cause: BaseException) -> None:
    """Roll back; a connection on which that fails is closed, and ``cause`` gets a note of it."""
    try:
        await connection.execute("ROLLBACK")
    except Exception as error:  # noqa: BLE001 - the caller raises its cause, which this must not hide
        cause.add_note(f"ROLLBACK failed: {error!r}")
        connection.terminate()

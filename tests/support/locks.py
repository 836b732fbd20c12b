"""Another session of a test's database, and what it finds locked."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg


@asynccontextmanager
async def another_session(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """Yield a connection of its own, closed afterwards."""
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        await connection.close()


async def unlocked(other: asyncpg.Connection, table: str, column: str) -> set[object]:
    """Return that column of the rows that no other session has locked."""
    rows = await other.fetch(f"SELECT {column} FROM {table} FOR UPDATE SKIP LOCKED")
    return {row[0] for row in rows}

"""The database's clock: the only one that decides anything about slots."""

from collections.abc import Awaitable, Callable
from datetime import datetime

from service.storage.engine.connection import Connection

NOW = "SELECT clock_timestamp()"

Clock = Callable[[Connection], Awaitable[datetime]]
"""Returns the time, over a connection; tests pass one that they move."""


async def read(connection: Connection) -> datetime:
    """Return the database's time, in UTC."""
    now: datetime = await connection.fetchval(NOW)
    return now

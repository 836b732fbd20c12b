"""Instants as the driver passes them, remembered: it computes each anew, of an array too.

That is three times what an element of another type costs, and the rows of a burst share a few.
"""

from datetime import UTC, datetime, timedelta
from functools import lru_cache

from service.storage.engine.connection import Connection

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
"""From which PostgreSQL counts microseconds."""
LATEST = datetime.max.replace(tzinfo=UTC)
EARLIEST = datetime.min.replace(tzinfo=UTC)
REMEMBERED = 4096


async def register(connection: Connection) -> None:
    """Let a connection read and write instants of type timestamptz by these functions."""
    await connection.set_type_codec(
        "timestamptz", schema="pg_catalog", encoder=written, decoder=read, format="tuple"
    )


@lru_cache(REMEMBERED)
def written(instant: datetime) -> tuple[int]:
    """Return an instant as the database has it. Raises TypeError for one without a zone."""
    return ((instant - EPOCH) // timedelta(microseconds=1),)


@lru_cache(REMEMBERED)
def read(value: tuple[int]) -> datetime:
    """Return an instant in UTC; what no ``datetime`` can say, infinity too, as the nearest."""
    try:
        return EPOCH + timedelta(microseconds=value[0])
    except OverflowError:
        return LATEST if value[0] > 0 else EARLIEST

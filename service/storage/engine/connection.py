"""The type of a database connection, from a pool or not, and the row counts of statements."""

from typing import TYPE_CHECKING, TypeAlias

import asyncpg

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

Connection: TypeAlias = "asyncpg.Connection | PoolConnectionProxy[asyncpg.Record]"


def affected(tag: str) -> int:
    """Return how many rows a statement wrote or deleted, from the tag that ``execute`` returned."""
    return int(tag.rpartition(" ")[2])

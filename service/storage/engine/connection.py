"""The type of a database connection, from a pool or not, and what its statements say."""

from typing import TYPE_CHECKING, TypeAlias

import asyncpg

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

Connection: TypeAlias = "asyncpg.Connection | PoolConnectionProxy[asyncpg.Record]"


def affected(tag: str) -> int:
    """How many rows a statement wrote or removed, by what ``execute`` returned."""
    return int(tag.rpartition(" ")[2])

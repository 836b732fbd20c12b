"""Connection pools, with a timeout for every wait, to a writable server."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import asyncpg
from msgspec import Struct

from service.storage.engine import instants
from service.storage.engine.connect import Servers, SessionSettings

IDLE_TIMEOUT_S = 300.0
"""After how long an unused connection is closed, where they are not kept open."""

# The driver asks the database about each of these types, on each connection that meets it, which
# takes as long as firing a hundred schedules. Asked together, when the connection is made.
ARRAYS = """
SELECT $1::uuid[], $2::timestamptz[], $3::integer[], $4::bigint[], $5::interval[], $6::bytea[],
  $7::jsonb[], $8::boolean[]
"""


class PoolSettings(Struct, frozen=True):
    """Times in milliseconds. ``statement_cache_size`` 0 is for a transaction pooler in between.

    With ``keep_open`` all connections are made at the start and stay, for work in bursts.
    With ``index_only`` rows are looked up by index, regardless of the statistics: a plan that was
    cached while a table was empty reads all of it, until it is analysed a minute later.
    """

    url: str
    size: int
    name: str
    lock_timeout_ms: int
    statement_timeout_ms: int
    statement_cache_size: int
    keep_open: bool = False
    index_only: bool = False


class _Connection(asyncpg.Connection):
    """A connection whose close raises nothing where the server no longer answers.

    The pool closes broken connections in tasks of its own, whose exceptions no caller retrieves.
    Subclassed because the library offers no other place to change it.
    """

    async def close(self, *, timeout: float | None = None) -> None:  # noqa: ASYNC109 - the library's
        with suppress(TimeoutError):  # it is aborted in any case
            await super().close(timeout=timeout)


async def open_pool(
    settings: PoolSettings,
    servers: Servers | None = None,
    on_connected: Callable[[asyncpg.Connection], None] | None = None,
) -> asyncpg.Pool:
    """Open a pool with its first connections made. Raises OSError or a PostgreSQL error.

    ``servers`` are those of the URL, where others know of their state too; ``on_connected`` is
    called with each connection made.
    """
    servers = servers or Servers(settings.url)
    session = SessionSettings(
        name=settings.name,
        lock_timeout_ms=settings.lock_timeout_ms,
        statement_timeout_ms=settings.statement_timeout_ms,
        index_only=settings.index_only,
    )

    async def connect(*_arguments: Any, **options: Any) -> asyncpg.Connection:  # noqa: ANN401 - the pool's own
        connection = await servers.connect(session, **options)
        if on_connected is not None:
            on_connected(connection)
        return connection

    return await asyncpg.create_pool(
        connect=connect,
        min_size=settings.size if settings.keep_open else 1,
        max_size=settings.size,
        max_inactive_connection_lifetime=0.0 if settings.keep_open else IDLE_TIMEOUT_S,
        connection_class=_Connection,
        init=_prepare_types,
        reset=_keep_session,
        statement_cache_size=settings.statement_cache_size,
        # The server ends slow statements; this is for a server that no longer answers at all.
        command_timeout=settings.statement_timeout_ms / 1000 + 2,
    )


async def _prepare_types(connection: asyncpg.Connection) -> None:
    await instants.register(connection)
    await connection.fetchrow(ARRAYS, *[None] * 8)


async def _keep_session(_connection: asyncpg.Connection) -> None:
    # The default costs a round trip per request to undo session state, and we set none. What was
    # left in a transaction is rolled back before this is called.
    return


async def is_alive(pool: asyncpg.Pool, timeout_s: float) -> bool:
    """Return whether a statement is answered; raises what the driver raises otherwise."""
    async with pool.acquire(timeout=timeout_s) as connection:
        return await connection.fetchval("SELECT true", timeout=timeout_s) is True

"""Connection pools. Sessions are in UTC, bounded in every wait, and only to a writable server."""

import asyncpg
from asyncpg.connect_utils import SessionAttribute
from msgspec import Struct


class PoolSettings(Struct, frozen=True):
    """Times in milliseconds. ``statement_cache_size`` 0 is for a transaction pooler in between."""

    url: str
    size: int
    name: str
    lock_timeout_ms: int
    statement_timeout_ms: int
    statement_cache_size: int


CONNECT_TIMEOUT_S = 10.0


async def open_pool(settings: PoolSettings) -> asyncpg.Pool:
    """Open a pool with one connection made. Raises OSError or a PostgreSQL error."""
    return await asyncpg.create_pool(
        settings.url,
        min_size=1,
        max_size=settings.size,
        reset=_leave_as_it_is,
        timeout=CONNECT_TIMEOUT_S,
        target_session_attrs=SessionAttribute.read_write,
        statement_cache_size=settings.statement_cache_size,
        # The server ends slow statements; this is for a server that no longer answers at all.
        command_timeout=settings.statement_timeout_ms / 1000 + 2,
        server_settings={
            "application_name": settings.name,
            "timezone": "UTC",
            "lock_timeout": str(settings.lock_timeout_ms),
            "statement_timeout": str(settings.statement_timeout_ms),
            "idle_in_transaction_session_timeout": str(settings.statement_timeout_ms * 2),
        },
    )


async def _leave_as_it_is(_connection: asyncpg.Connection) -> None:
    # The default costs a round trip per request to undo session state, and we set none. What was
    # left in a transaction is rolled back before this is called.
    return


async def is_alive(pool: asyncpg.Pool, timeout_s: float) -> bool:
    """Tell whether a statement gets its answer; raises what the driver raises otherwise."""
    async with pool.acquire(timeout=timeout_s) as connection:
        return await connection.fetchval("SELECT true", timeout=timeout_s) is True

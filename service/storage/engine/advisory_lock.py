"""Advisory locks, for work that only one process at a time may do."""

from service.storage.engine.connection import Connection

TRY_LOCK = "SELECT pg_try_advisory_xact_lock($1::bigint)"


async def try_lock(connection: Connection, key: int) -> bool:
    """Take an advisory lock until the transaction ends; False when another session has it."""
    taken: bool = await connection.fetchval(TRY_LOCK, key)
    return taken

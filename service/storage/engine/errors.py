"""Which database errors mean 'not now' rather than 'our mistake'."""

import asyncpg

_NOT_NOW = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.LockNotAvailableError,
    asyncpg.QueryCanceledError,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.OutOfMemoryError,
    asyncpg.DiskFullError,
    OSError,
    TimeoutError,
)


def is_unavailable(error: BaseException) -> bool:
    """Tell whether the same request may well succeed a little later, on another connection."""
    return isinstance(error, _NOT_NOW)


def in_words(error: BaseException) -> str:
    """What happened, in words for a person; the driver may only name its own inner states."""
    if isinstance(error, asyncpg.InternalClientError):
        return "the connection ended in the middle of something"
    return str(error) or type(error).__name__


def is_the_servers(error: BaseException) -> bool:
    """Tell whether it stopped answering, or became a standby: no other connection is any better."""
    # Exactly the driver's: that of NATS is derived from it, and may come up between statements.
    return type(error) is TimeoutError or isinstance(error, asyncpg.ReadOnlySQLTransactionError)


def is_deadlock(error: BaseException) -> bool:
    """Tell whether two transactions waited for each other: this one may simply start anew."""
    return isinstance(error, asyncpg.DeadlockDetectedError)


def is_contended(error: BaseException) -> bool:
    """Tell whether a lock that somebody else holds was the only reason."""
    return isinstance(error, asyncpg.LockNotAvailableError | asyncpg.DeadlockDetectedError)


def referenced_by(error: BaseException) -> str | None:
    """Return the table whose rows keep a row from being removed, if that is the fault."""
    if isinstance(error, asyncpg.ForeignKeyViolationError):
        return error.table_name or "another table"
    return None


def is_name_taken(error: BaseException) -> bool:
    """Tell whether a row was refused by a unique index on schedule names."""
    return (
        isinstance(error, asyncpg.UniqueViolationError)
        # A shard's name has a number at its end.
        and (error.table_name or "").startswith("tenant_extension_schedule")
        and "name" in (error.detail or "")
    )

"""Which database errors are temporary, and which are mistakes of ours."""

import asyncpg

_UNAVAILABLE = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.OperatorInterventionError,  # class 57: a canceled statement, a shutdown, a start
    asyncpg.InsufficientResourcesError,  # class 53: a full disk, memory, connections, limits
    asyncpg.LockNotAvailableError,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    OSError,
    TimeoutError,
)


def is_unavailable(error: BaseException) -> bool:
    """Return whether the same request may succeed a little later, on another connection."""
    return isinstance(error, _UNAVAILABLE)


def is_connection_lost(error: BaseException) -> bool:
    """Return whether a connection ended, or none can be made: what was sent may have been done."""
    lost = asyncpg.PostgresConnectionError | asyncpg.InterfaceError | asyncpg.InternalClientError
    return isinstance(error, lost) or (
        isinstance(error, OSError) and not isinstance(error, TimeoutError)
    )


def is_refusal(error: BaseException) -> bool:
    """Return whether the database refused a statement for what it would read or write."""
    return isinstance(error, asyncpg.PostgresError) and not is_unavailable(error)


def describe(error: BaseException) -> str:
    """Return the error as text for a person; the driver may only name its own inner states."""
    if isinstance(error, asyncpg.InternalClientError):
        return "the connection ended during an operation"
    return str(error) or type(error).__name__


def is_server_failure(error: BaseException) -> bool:
    """Return whether the server stopped answering or is a standby: other connections fail too."""
    # Exactly the driver's: that of NATS is derived from it, and may come up between statements.
    return type(error) is TimeoutError or isinstance(error, asyncpg.ReadOnlySQLTransactionError)


def is_deadlock(error: BaseException) -> bool:
    """Return whether two transactions waited for each other: this one may simply be retried."""
    return isinstance(error, asyncpg.DeadlockDetectedError)


def is_contended(error: BaseException) -> bool:
    """Return whether a lock of another transaction was the only reason."""
    return isinstance(error, asyncpg.LockNotAvailableError | asyncpg.DeadlockDetectedError)


def referenced_by(error: BaseException) -> str | None:
    """Return the table whose rows refer to a row that was to be deleted, else None."""
    if isinstance(error, asyncpg.ForeignKeyViolationError):
        return error.table_name or "another table"
    return None


def is_name_taken(error: BaseException) -> bool:
    """Return whether a unique index on schedule names refused a row."""
    return (
        isinstance(error, asyncpg.UniqueViolationError)
        # A shard's name has a number at its end.
        and (error.table_name or "").startswith("tenant_extension_schedule")
        and "name" in (error.detail or "")
    )

"""What readiness says of the database's migrations."""

import asyncpg
import pytest

from service.runtime.errors import CannotReachError, CannotServeError
from service.runtime.resources import migration_check, using_database


async def test_a_database_that_lacks_a_migration_is_not_ready(pool: asyncpg.Pool) -> None:
    check = migration_check(pool)
    await check()
    await pool.execute(
        "DELETE FROM ext_scheduler.migrations"
        " WHERE version = (SELECT max(version) FROM ext_scheduler.migrations)"
    )
    with pytest.raises(CannotServeError, match="lacks 1"):
        await check()


async def test_a_newer_releases_migration_leaves_the_old_processes_ready(
    pool: asyncpg.Pool,
) -> None:
    await pool.execute(
        "INSERT INTO ext_scheduler.migrations (version, name, checksum) VALUES (9999, 'new', 'x')"
    )
    await migration_check(pool)()


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(111, "Connect call failed"),
        asyncpg.InterfaceError("the underlying connection is closed"),
        asyncpg.InternalClientError("cannot switch to state 12"),
        asyncpg.CannotConnectNowError("the database system is starting up"),
        TimeoutError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_database_lost_during_the_start_is_reported_in_one_line(
    error: Exception,
) -> None:
    with pytest.raises(CannotReachError, match=r"database not usable: \S+"), using_database():
        raise error

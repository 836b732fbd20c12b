"""Is PostgreSQL there, writable, migrated, and of the same time as this host?"""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg

from contracts.context import LEEWAY_S
from service.cli.checks.result import Finding, note, ok, wrong
from service.runtime.settings import Settings
from service.storage.engine.migrate import MigrationError, pending

ABOUT = "database"
PATIENCE_S = 5.0
OLDEST = 130_000
LOOK = """
SELECT current_setting('server_version') AS version,
       current_setting('server_version_num')::int AS number,
       current_database() AS name, current_user AS role,
       pg_is_in_recovery() OR current_setting('transaction_read_only')::bool AS read_only,
       clock_timestamp() AS now
"""


async def look(settings: Settings) -> AsyncIterator[Finding]:
    """Find out, as far as one gets."""
    try:
        connection = await asyncpg.connect(
            settings.database_url, timeout=PATIENCE_S, command_timeout=PATIENCE_S
        )
    except (OSError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        where = settings.redacted()["database_url"]
        yield wrong(
            ABOUT,
            f"{where} cannot be reached: {_one_line(error)}",
            "is the server up, and EXT_SCHEDULER_DATABASE_URL right?",
        )
        return
    try:
        async for finding in _look_inside(connection):
            yield finding
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        yield wrong(ABOUT, f"stopped answering: {_one_line(error)}", "look at the server's log")
    finally:
        await connection.close(timeout=PATIENCE_S)


async def _look_inside(connection: asyncpg.Connection) -> AsyncIterator[Finding]:
    row = await connection.fetchrow(LOOK)
    assert row is not None  # noqa: S101 - a SELECT without FROM has one row
    place = f"PostgreSQL {row['version']}, database {row['name']}, user {row['role']}"
    if row["number"] < OLDEST:
        yield wrong(ABOUT, f"{place}: too old", f"use PostgreSQL {OLDEST // 10_000} or newer")
    elif row["read_only"]:
        yield wrong(ABOUT, f"{place}: read-only", "connect to the primary server")
    else:
        yield ok(ABOUT, place)
    yield _clock(row["now"])
    yield await _migrations(connection)


def _clock(theirs: datetime) -> Finding:
    apart = abs(datetime.now(UTC) - theirs)
    if apart > timedelta(seconds=LEEWAY_S / 2):
        return note(
            "clock",
            f"{apart.total_seconds():.0f} s apart from the database's",
            f"more than {LEEWAY_S} s apart from a signer's, its requests are refused: run NTP",
        )
    return ok("clock", "agrees with the database's")


async def _migrations(connection: asyncpg.Connection) -> Finding:
    about = "migrations"
    try:
        missing = await pending(connection)
    except MigrationError as error:
        return wrong(about, str(error), "use the release that made them, or a newer one")
    except asyncpg.InsufficientPrivilegeError as error:
        return wrong(about, _one_line(error), "grant the user schema ext_scheduler")
    if missing:
        return wrong(about, f"{len(missing)} are missing", "run `ext-scheduler migrate`")
    return ok(about, "all applied")


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__

"""Checks whether PostgreSQL is reachable, writable and migrated, and its clock in sync."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg

from contracts.context import LEEWAY_S
from service.cli.checks.result import CheckLevel, CheckResult, error, ok, warning
from service.runtime.settings import Settings
from service.storage.engine import grants
from service.storage.engine.connect import SessionSettings, connect
from service.storage.engine.migrate import MigrationError, pending
from service.storage.runs import runner_symptoms
from service.storage.schedules import adoption

ABOUT = "database"
MIGRATIONS = "migrations"
RIGHTS = "rights"
TIMEOUT_S = 5.0
OLDEST, NEWEST = 13, 18
"""The supported releases of PostgreSQL."""
SERVER_QUERY = """
SELECT current_setting('server_version') AS version,
       current_setting('server_version_num')::int AS number,
       current_database() AS name, current_user AS role,
       clock_timestamp() AS now
"""


async def run_checks(settings: Settings) -> AsyncIterator[CheckResult]:
    """Run the checks in order; stop where the database cannot be reached."""
    try:
        connection = await connect(
            settings.database_url,
            SessionSettings("ext-scheduler check", statement_timeout_ms=int(TIMEOUT_S * 1000)),
            command_timeout=TIMEOUT_S,
        )
    except (OSError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as failure:
        url = settings.redacted()["database_url"]
        yield error(
            ABOUT,
            f"{url} cannot be reached: {_one_line(failure)}",
            "start the server, or correct EXT_SCHEDULER_DATABASE_URL",
        )
        return
    try:
        migrated = False
        async for result in _check_server(connection):
            migrated = result.about == MIGRATIONS and result.state is CheckLevel.OK
            yield result
        if migrated:
            yield await _check_rights(connection)
            for result in await _check_runs(connection, settings.runner_timeout_s):
                yield result
            if others := await adoption.count_driven_by_other(connection):
                yield warning(
                    "schedules",
                    f"{others} with drivenBy: other, left to another job runner",
                    "see them with `ext-scheduler admin list`; `admin adopt` takes them over",
                )
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as failure:
        yield error(ABOUT, f"stopped responding: {_one_line(failure)}", "see the server's log")
    finally:
        await connection.close(timeout=TIMEOUT_S)


async def _check_server(connection: asyncpg.Connection) -> AsyncIterator[CheckResult]:
    row = await connection.fetchrow(SERVER_QUERY)
    assert row is not None  # noqa: S101 - a SELECT without FROM has one row
    server = f"PostgreSQL {row['version']}, database {row['name']}, user {row['role']}"
    if not OLDEST <= row["number"] // 10_000 <= NEWEST:
        yield error(ABOUT, f"{server}: unsupported", f"use PostgreSQL {OLDEST} to {NEWEST}")
    else:
        yield ok(ABOUT, server)
    yield _check_clock(row["now"])
    yield await _check_migrations(connection)


def _check_clock(database_time: datetime) -> CheckResult:
    difference = abs(datetime.now(UTC) - database_time)
    if difference > timedelta(seconds=LEEWAY_S / 2):
        return warning(
            "clock",
            f"differs from the database's by {difference.total_seconds():.0f} s",
            f"run NTP: requests are refused if a signer's clock differs by over {LEEWAY_S} s",
        )
    return ok("clock", "in sync with the database's")


async def _check_migrations(connection: asyncpg.Connection) -> CheckResult:
    about = MIGRATIONS
    try:
        missing = await pending(connection)
    except MigrationError as unknown:
        return error(about, str(unknown), "use the release that applied them, or a newer one")
    except asyncpg.InsufficientPrivilegeError as denied:
        role = await grants.current_role(connection)
        return error(about, _one_line(denied), _grant_remedy(role))
    if missing:
        return error(about, f"{len(missing)} not applied", "run `ext-scheduler migrate`")
    return ok(about, "all applied")


async def _check_rights(connection: asyncpg.Connection) -> CheckResult:
    role = await grants.current_role(connection)
    if lacks := await grants.missing(connection, role):
        return error(RIGHTS, f"role {role} lacks {'; '.join(lacks)}", _grant_remedy(role))
    if excess := str(await grants.excess(connection, role)):
        return warning(
            RIGHTS,
            f"role {role} {excess}: more than serve needs",
            "let serve connect as a role of its own: see `ext-scheduler migrate --grants`",
        )
    return ok(RIGHTS, f"role {role} has what serve needs, and no more")


def _grant_remedy(role: str) -> str:
    return f"run `ext-scheduler migrate --grants {role}` as the owner of the tables"


async def _check_runs(connection: asyncpg.Connection, timeout_s: int) -> list[CheckResult]:
    """Return what the runs of the last hour say of the Runner; nothing where all is well."""
    about, results = "runs", list[CheckResult]()
    seen = await runner_symptoms.recent(connection, timeout_s * 1000 // 2)
    if seen.async_mismatches:
        results.append(
            error(
                about,
                f"{seen.async_mismatches} of the last hour: type mismatch with async",
                "the Runner refuses components with imports: use another release of it",
            )
        )
    if seen.slow:
        results.append(
            warning(
                about,
                f"{seen.slow} of {seen.runs} in the last hour took over half of {timeout_s} s",
                "the Runner may compile at each call: raise EXT_SCHEDULER_RUNNER_TIMEOUT_S",
            )
        )
    return results


def _one_line(failure: BaseException) -> str:
    return " ".join(str(failure).split()) or type(failure).__name__

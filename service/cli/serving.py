"""``serve`` and ``migrate``."""

import gc
import os
from typing import Annotated

import asyncpg
import typer
import uvloop

from service import app
from service.app import Role
from service.cli.errors import EXIT_UNAVAILABLE, CommandError
from service.cli.loop import run
from service.cli.output import progress
from service.runtime import settings
from service.runtime.logs import configure
from service.storage.engine import migrate as migrations


def serve(
    role: Annotated[Role, typer.Option(help="What this process does.")] = Role.ALL,
) -> None:
    """Answer requests, fire schedules, or both, until SIGTERM.

    \b
    Examples:
      ext-scheduler serve
      EXT_SCHEDULER_HTTP_PORT=9470 ext-scheduler serve --role worker
    """
    chosen = settings.load(os.environ)
    configure(chosen.log_format, chosen.log_level)
    _collect_rarely()
    # Half the time that the driver takes for a round trip on the standard library's loop.
    uvloop.run(app.serve(chosen, role))


def _collect_rarely() -> None:
    """Look for garbage cycles seldom: a seventh of the time went there, and hardly any are left."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


def migrate(
    sql: Annotated[bool, typer.Option("--sql", help="Print the statements instead.")] = False,
) -> None:
    """Bring the database up to date. Safe to run at any time, from many places at once.

    \b
    Examples:
      ext-scheduler migrate
      ext-scheduler migrate --sql | psql "$EXT_SCHEDULER_DATABASE_URL"
    """
    chosen = settings.load(os.environ)
    if sql:
        typer.echo(migrations.as_sql(migrations.available()), nl=False)
        return
    for migration in run(_migrate(chosen.database_url)):
        typer.echo(f"applied {migration.version:04d}_{migration.name}")
    typer.echo("the database is up to date")


async def _migrate(url: str) -> list[migrations.Migration]:
    try:
        connection = await asyncpg.connect(url, timeout=10)
    except (OSError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        told = " ".join(str(error).split()) or type(error).__name__
        raise CommandError(f"database not reachable: {told}", EXIT_UNAVAILABLE) from None
    try:
        async with progress(lambda: "migrating"):
            return await migrations.migrate(connection)
    except migrations.MigrationError as error:
        raise CommandError(str(error)) from None
    finally:
        await connection.close()

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
from service.storage.engine.connect import SessionSettings, connect


def serve(
    role: Annotated[Role, typer.Option(help="Role of this process.")] = Role.ALL,
) -> None:
    """Answer requests, fire schedules, or both, until SIGTERM.

    \b
    Examples:
      ext-scheduler serve
      EXT_SCHEDULER_HTTP_PORT=9470 ext-scheduler serve --role worker
    """
    loaded = settings.load(os.environ)
    configure(loaded.log_format, loaded.log_level)
    _tune_garbage_collector()
    # On uvloop a database round trip takes half the time of the standard event loop.
    uvloop.run(app.serve(loaded, role))


def _tune_garbage_collector() -> None:
    """Collect garbage cycles rarely: it took a seventh of the time, and hardly any arise."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


def migrate(
    sql: Annotated[
        bool, typer.Option("--sql", help="Print the SQL instead of running it.")
    ] = False,
) -> None:
    """Migrate the database to this release. Safe to run at any time, and concurrently.

    \b
    Examples:
      ext-scheduler migrate
      ext-scheduler migrate --sql | psql "$EXT_SCHEDULER_DATABASE_URL"
    """
    loaded = settings.load(os.environ)
    if sql:
        typer.echo(migrations.as_sql(migrations.available()), nl=False)
        return
    for migration in run(_migrate(loaded.database_url)):
        typer.echo(f"applied {migration.version:04d}_{migration.name}")
    typer.echo("the database is up to date")


async def _migrate(url: str) -> list[migrations.Migration]:
    try:
        connection = await connect(url, SessionSettings("ext-scheduler migrate"))
    except (OSError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise CommandError(f"database not reachable: {reason}", EXIT_UNAVAILABLE) from None
    try:
        async with progress(lambda: "migrating"):
            return await migrations.migrate(connection)
    except migrations.MigrationError as error:
        raise CommandError(str(error)) from None
    finally:
        await connection.close()

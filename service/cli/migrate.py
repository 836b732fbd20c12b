"""``migrate``: brings the database to this release."""

import os
from typing import Annotated

import asyncpg
import typer

from service.cli.errors import EXIT_UNAVAILABLE, CommandError
from service.cli.loop import run
from service.cli.output import progress
from service.runtime import settings
from service.storage.engine import migrate as migrations
from service.storage.engine.connect import SessionSettings, connect


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

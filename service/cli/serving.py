"""``serve`` and ``migrate``."""

import asyncio
import os
from typing import Annotated

import asyncpg
import typer

from service import app, settings
from service.app import Role
from service.cli.errors import CommandError
from service.logs import configure
from service.storage import migrate as migrations


def serve(
    role: Annotated[Role, typer.Option(help="What this process does.")] = Role.ALL,
) -> None:
    """Answer requests, fire schedules, or both, until SIGTERM."""
    chosen = settings.load(os.environ)
    configure(chosen.log_format, chosen.log_level)
    asyncio.run(app.serve(chosen, role))


def migrate(
    sql: Annotated[bool, typer.Option("--sql", help="Print the statements instead.")] = False,
) -> None:
    """Bring the database up to date. Safe to run at any time, from many places at once."""
    chosen = settings.load(os.environ)
    if sql:
        typer.echo(migrations.as_sql(migrations.available()), nl=False)
        return
    for migration in asyncio.run(_migrate(chosen.database_url)):
        typer.echo(f"applied {migration.version:04d}_{migration.name}")
    typer.echo("the database is up to date")


async def _migrate(url: str) -> list[migrations.Migration]:
    try:
        connection = await asyncpg.connect(url, timeout=10)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise CommandError(f"database not reachable: {error}") from None
    try:
        return await migrations.migrate(connection)
    except migrations.MigrationError as error:
        raise CommandError(str(error)) from None
    finally:
        await connection.close()

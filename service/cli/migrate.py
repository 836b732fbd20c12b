"""``migrate``: brings the database to this release."""

import os
from typing import Annotated

import asyncpg
import typer

from service.cli.errors import EXIT_FAILED, EXIT_UNAVAILABLE, EXIT_USAGE, CommandError
from service.cli.loop import run
from service.cli.output import cell, progress
from service.runtime import settings
from service.storage.engine import grants as runtime_role
from service.storage.engine import migrate as migrations
from service.storage.engine.connect import SessionSettings, connect
from service.storage.engine.errors import is_unavailable


def migrate(
    sql: Annotated[
        bool, typer.Option("--sql", help="Print the SQL instead of running it.")
    ] = False,
    grants: Annotated[
        str,
        typer.Option(metavar="ROLE", help="Also grant an existing role what `serve` needs."),
    ] = "",
) -> None:
    """Migrate the database to this release. Safe to run at any time, and concurrently.

    With --grants and --sql the grants alone are printed.

    \b
    Examples:
      ext-scheduler migrate
      ext-scheduler migrate --grants ext_scheduler_runtime
      ext-scheduler migrate --sql | psql "$EXT_SCHEDULER_DATABASE_URL"
    """
    loaded = settings.load(os.environ)
    script = _grants(grants) if grants else ""
    if sql and grants:
        typer.echo(script, nl=False)
        return
    if sql:
        typer.echo(migrations.as_sql(migrations.available()), nl=False)
        return
    for migration in run(_migrate(loaded.database_url, grants, script)):
        typer.echo(f"applied {migration.version:04d}_{migration.name}")
    typer.echo("the database is up to date")
    if grants:
        typer.echo(f"role {cell(grants)} has what serve needs")


def _grants(role: str) -> str:
    try:
        return runtime_role.as_sql(role)
    except runtime_role.InvalidRoleError as error:
        raise CommandError(f"--grants: {error}", EXIT_USAGE) from None


async def _migrate(url: str, role: str, script: str) -> list[migrations.Migration]:
    try:
        connection = await connect(url, SessionSettings("ext-scheduler migrate"))
    except (OSError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise CommandError(
            f"database not reachable: {_one_line(error)}", EXIT_UNAVAILABLE
        ) from None
    try:
        async with progress(lambda: "migrating"):
            applied = await migrations.migrate(connection)
            if role:
                await _grant(connection, role, script)
            return applied
    except migrations.MigrationError as error:
        raise CommandError(str(error)) from None
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        status = EXIT_UNAVAILABLE if is_unavailable(error) else EXIT_FAILED
        raise CommandError(f"cannot migrate: {_one_line(error)}", status) from None
    finally:
        await connection.close()


async def _grant(connection: asyncpg.Connection, role: str, script: str) -> None:
    try:
        await connection.execute(script)
    except asyncpg.UndefinedObjectError:
        raise CommandError(
            f"role {cell(role)} does not exist (its case counts); create it first:"
            f" CREATE ROLE … LOGIN PASSWORD '…'"
        ) from None
    except asyncpg.PostgresError as error:
        if is_unavailable(error):
            raise
        raise CommandError(f"cannot grant: {_one_line(error)}") from None
    if lacks := await runtime_role.missing(connection, role):
        # PostgreSQL only warns where the one who grants is not the owner.
        raise CommandError(
            f"role {cell(role)} still lacks {'; '.join(lacks)}:"
            " let the owner run the SQL of `migrate --grants … --sql`"
        )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__

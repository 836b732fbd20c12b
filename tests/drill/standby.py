"""A synchronous standby: what the primary has answered is on both servers."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg

from devstack.embedded import Postgres, embedded_postgres
from devstack.embedded.postgres import change_owner, run_as, unprivileged_account

PRIMARY_SETTINGS = {"synchronous_standby_names": "*"}


@contextmanager
def synchronous_standby(primary: Postgres, directory: Path) -> Iterator[Postgres]:
    """Copy a primary that has ``PRIMARY_SETTINGS``, and run the copy as its standby.

    The primary is restarted. Raises ServerFailed, or OSError where it cannot be copied.
    """
    account = unprivileged_account()
    directory.mkdir()
    change_owner(directory, account)
    primary.server.stop()
    commands = (
        ("cp", "-r", f"{primary.server.directory}/data", f"{directory}/data"),
        ("cp", f"{primary.server.directory}/password", f"{directory}/password"),
        ("touch", f"{directory}/data/standby.signal"),
    )
    for command in commands:
        completed = run_as(account, "/usr/bin/env", *command)
        if completed.returncode:
            raise OSError(completed.stderr)
    primary.server.start()
    address = f"host={primary.server.host} port={primary.server.port}"
    settings = {
        "primary_conninfo": f"{address} user=postgres password={primary.password}",
        "wal_retrieve_retry_interval": "200ms",
    }
    with embedded_postgres(directory, durable=True, settings=settings) as standby:
        yield standby


async def promote(standby: Postgres) -> None:
    """Let a standby take writes; return when it does."""
    connection = await asyncpg.connect(standby.dsn)
    try:
        await connection.execute("SELECT pg_promote()")
    finally:
        await connection.close()

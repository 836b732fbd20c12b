"""A synchronous standby: what the primary has answered is on both servers."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg

from devstack.embedded import Postgres, embedded_postgres
from devstack.embedded.postgres import change_owner, run_as, unprivileged_account
from tests.drill.host_clock import HostClock
from tests.drill.small_disk import SmallDisk

PRIMARY_SETTINGS = {"synchronous_standby_names": "*"}
WAL_SIZE = {"max_wal_size": "96MB", "min_wal_size": "48MB"}
"""Little of it is kept: there is not much room on a small disk."""


@contextmanager
def primary(directory: Path, disk: SmallDisk | None, clock: HostClock | None) -> Iterator[Postgres]:
    """Run a durable server that waits for a standby, its data on ``disk`` if there is one."""
    placed(directory, disk)
    settings = {**PRIMARY_SETTINGS, **WAL_SIZE}
    variables = clock.variables if clock else None
    with embedded_postgres(
        directory, durable=True, settings=settings, variables=variables
    ) as postgres:
        yield postgres


def placed(directory: Path, disk: SmallDisk | None) -> None:
    """Create a server's directory, its data on ``disk`` if there is one."""
    account = unprivileged_account()
    directory.mkdir()
    change_owner(directory, account)
    data = directory / "data"
    if disk is not None:
        data.symlink_to(disk.data)
    else:
        data.mkdir(mode=0o700)
        change_owner(data, account)


@contextmanager
def synchronous_standby(
    primary: Postgres, directory: Path, disk: SmallDisk | None, clock: HostClock | None
) -> Iterator[Postgres]:
    """Copy a primary that has ``PRIMARY_SETTINGS``, and run the copy as its standby.

    The primary is restarted. Raises ServerFailed, or OSError where it cannot be copied.
    """
    account = unprivileged_account()
    placed(directory, disk)
    primary.server.stop()
    commands = (
        ("cp", "-r", f"{primary.server.directory}/data/.", f"{directory}/data/"),
        ("chmod", "700", f"{directory}/data/."),
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
        **WAL_SIZE,
    }
    variables = clock.variables if clock else None
    with embedded_postgres(
        directory, durable=True, settings=settings, variables=variables
    ) as standby:
        yield standby


async def promote(standby: Postgres) -> None:
    """Let a standby take writes; return when it does."""
    connection = await asyncpg.connect(standby.dsn)
    try:
        await connection.execute("SELECT pg_promote()")
    finally:
        await connection.close()

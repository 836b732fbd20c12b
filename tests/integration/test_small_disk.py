"""The drill's file system of its own: a server on it meets a full disk, and goes on afterwards."""

from contextlib import ExitStack, suppress
from pathlib import Path

import asyncpg
import pytest

from devstack.embedded import embedded_postgres, private_directory
from tests.drill.small_disk import NoSmallDisk, SmallDisk, small_disk
from tests.drill.standby import placed

MEGABYTES = 128
FILL = "INSERT INTO filled SELECT repeat('x', 500) FROM generate_series(1, 100000)"


def mounted(stack: ExitStack, directory: Path) -> SmallDisk | None:
    """Return a small disk; None where this machine allows no user namespace."""
    with suppress(NoSmallDisk):
        return stack.enter_context(small_disk(directory / "disk", MEGABYTES))
    return None


async def test_a_server_meets_a_full_disk_and_goes_on_once_there_is_room() -> None:
    with ExitStack() as stack:
        directory = stack.enter_context(private_directory())
        disk = mounted(stack, directory)
        placed(directory / "postgres", disk)
        postgres = stack.enter_context(embedded_postgres(directory / "postgres"))
        connection = await asyncpg.connect(postgres.dsn)
        await connection.execute("CREATE UNLOGGED TABLE filled (what text)")
        if disk is not None:
            disk.fill()
            assert disk.free == 0
            with pytest.raises(asyncpg.DiskFullError):
                await connection.execute(FILL)
            disk.empty()
            assert disk.free > 0
        await connection.execute(FILL)
        assert await connection.fetchval("SELECT count(*) FROM filled") == 100_000
        await connection.close()

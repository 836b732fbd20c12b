"""A host's clock is stepped while its database server runs, where the machine has the library."""

import time
from functools import partial

import asyncpg

from devstack.embedded import embedded_postgres, private_directory
from tests.drill.host_clock import HostClock, NoHostClock
from tests.support.eventually import eventually

STEP_S = 100


async def test_the_clock_of_a_database_is_stepped_and_set_right_again() -> None:
    with private_directory() as directory:
        try:
            clock = HostClock(directory / "clock", of_threads=False)
        except NoHostClock as refusal:
            assert "faketime" in str(refusal)  # noqa: PT017 - what such a machine is told
            return
        with embedded_postgres(directory / "postgres", variables=clock.variables) as postgres:
            connection = await asyncpg.connect(postgres.dsn)

            async def ahead_s() -> float:
                now = await connection.fetchval("SELECT extract(epoch FROM clock_timestamp())")
                return float(now) - time.time()

            async def near(step_s: float) -> bool:
                return abs(await ahead_s() - step_s) < STEP_S / 2

            assert await near(0)
            for step_s in (STEP_S, -STEP_S, 0):
                clock.step(step_s)
                await eventually(partial(near, step_s))
            await connection.close()

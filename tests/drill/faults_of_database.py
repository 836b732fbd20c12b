"""Faults of PostgreSQL, its disk, and the connections to it. Each returns whether it happened."""

import asyncio
import random
from contextlib import suppress

import asyncpg

from tests.drill.environment import Database, DrillEnvironment
from tests.drill.history import CLOCK_STEP_S
from tests.drill.standby import promote
from tests.support.faulty_proxy import Disturbance
from tests.support.trouble import frozen_server

FROZEN_S = (3.0, 9.0)
FULL_S = (3.0, 9.0)
LOST_COMMITS_S = (0.5, 2.5)
LOCKED_S = 60.0
WRONG_CLOCK_S = (10.0, 25.0)
PROMOTED_AFTER_S = 2.0
"""How long it takes until the loss is noticed and the standby promoted."""
SETTLES_WITHIN_S = 60.0
LOCKS = (
    "SELECT FROM tenant_extension_install WHERE id::text < '4' FOR UPDATE",
    "SELECT FROM tenant_extension_schedule WHERE id::text BETWEEN '4' AND '6' FOR UPDATE",
    "SELECT FROM ext_scheduler.timers WHERE schedule_id::text > 'c' FOR UPDATE",
    "SELECT FROM ext_scheduler.runs WHERE status IN ('queued', 'running') FOR UPDATE",
)
"""A quarter of the installs, an eighth of the schedules, a quarter of the timers; all open runs."""


async def restart(environment: DrillEnvironment, chance: random.Random) -> bool:
    """Kill the server, and start it again up to 2 s later."""
    async with environment.database_lock:
        server = environment.database.postgres.server
        await asyncio.to_thread(server.kill)
        await asyncio.sleep(chance.uniform(0.0, 2.0))
        await asyncio.to_thread(server.start)
    return True


async def freeze_host(environment: DrillEnvironment, chance: random.Random) -> bool:
    """Stop all of the server's processes for a while, their sockets open."""
    async with environment.database_lock:
        with frozen_server(environment.database.postgres):
            await asyncio.sleep(chance.uniform(*FROZEN_S))
    return True


async def fill_disk(environment: DrillEnvironment, chance: random.Random) -> bool:
    """Use up all space on the file system of its data and its log, and give it back."""
    async with environment.database_lock:
        database = environment.database
        if database.disk is None:
            return False
        await asyncio.to_thread(database.disk.fill)
        await asyncio.sleep(chance.uniform(*FULL_S))
        database.disk.empty()
        await _serves(database)
    return True


async def _serves(database: Database) -> None:
    """Start the server where it gave up, as a supervisor does; return once it answers."""
    server = database.postgres.server
    async with asyncio.timeout(SETTLES_WITHIN_S):
        while True:
            if not server.running:
                await asyncio.to_thread(server.start)
            with suppress(asyncpg.PostgresError, OSError):
                connection = await asyncpg.connect(database.postgres.dsn)
                await connection.close()
                return
            await asyncio.sleep(0.1)


async def hold_locks(environment: DrillEnvironment, _: random.Random) -> bool:
    """Hold locks on many rows for a minute, as a person does in a transaction left open."""
    # A restart of the server releases them sooner.
    with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        connection = await asyncpg.connect(environment.database.postgres.dsn)
        try:
            async with connection.transaction():
                for statement in LOCKS:
                    await connection.execute(statement)
                await asyncio.sleep(LOCKED_S)
        finally:
            connection.terminate()
    return True


async def freeze_connections(environment: DrillEnvironment, chance: random.Random) -> bool:
    """Forward nothing for a while, and all of it afterwards."""
    return await _disturb(environment, Disturbance.FROZEN, chance.uniform(*FROZEN_S))


async def delay_connections(environment: DrillEnvironment, chance: random.Random) -> bool:
    """Forward everything a little later for a while."""
    return await _disturb(environment, Disturbance.DELAYED, chance.uniform(*FROZEN_S))


async def lose_commits(environment: DrillEnvironment, chance: random.Random) -> bool:
    """End connections, for a while, when the answer to a COMMIT is due."""
    return await _disturb(environment, Disturbance.LOST_COMMITS, chance.uniform(*LOST_COMMITS_S))


async def _disturb(environment: DrillEnvironment, disturbance: Disturbance, seconds: float) -> bool:
    proxy = environment.database.proxy
    proxy.disturb(disturbance)
    await asyncio.sleep(seconds)
    proxy.disturb(Disturbance.NONE)
    return True


async def half_open(environment: DrillEnvironment, _: random.Random) -> bool:
    """Let those connections that there are never answer again; new ones work."""
    environment.database.proxy.half_open()
    return True


async def step_clock(environment: DrillEnvironment, chance: random.Random) -> bool:
    """Set the clock of the server's host ahead or behind for a while, then right again."""
    clock = environment.database.clock
    if clock is None:
        return False
    clock.step(chance.choice((-1, 1)) * chance.randint(3, CLOCK_STEP_S))
    await asyncio.sleep(chance.uniform(*WRONG_CLOCK_S))
    clock.step(0)
    return True


async def fail_over(environment: DrillEnvironment, *, frozen_first: bool) -> None:
    """Kill or freeze the primary, and promote its standby. The primary never comes back."""
    async with environment.database_lock:
        lost = environment.database.postgres
        if frozen_first:
            with frozen_server(lost):
                await _promote(environment)
                await asyncio.to_thread(lost.server.kill)
        else:
            await asyncio.to_thread(lost.server.kill)
            await _promote(environment)


async def _promote(environment: DrillEnvironment) -> None:
    await asyncio.sleep(PROMOTED_AFTER_S)
    await promote(environment.standby.postgres)
    environment.database = environment.standby

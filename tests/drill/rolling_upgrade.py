"""Replace the processes of an earlier release one after another, while everything goes on."""

import asyncio
import time
from collections.abc import Sequence

import asyncpg

from service.storage.engine.migrate import migrate
from tests.drill.environment import DrillEnvironment
from tests.drill.history import MIGRATED, Fault
from tests.drill.planted_faults import program
from tests.drill.supervisor import SupervisedProcess

MINUTE = 60.0
BETWEEN_S = 8.0
"""From one process to the next at least, as a deployment waits."""
SLOT_CALLED_S = 5.0
"""From a slot on, so that how soon it is called shows how each step healed."""


async def upgrade(environment: DrillEnvironment, duration_s: float) -> list[Fault]:
    """Migrate, then replace a half of the processes at once and the others at the end.

    In between, for that many seconds, both releases work on the database that the present one
    migrated. Returns what happened, in the form of faults.
    """
    began = time.time()
    connection = await asyncpg.connect(environment.database.postgres.dsn)
    try:
        await migrate(connection)
    finally:
        await connection.close()
    faults = [Fault(MIGRATED, began, time.time())]
    await _until_slot_called()
    processes = environment.processes
    faults += await _replace(processes[::2])
    await asyncio.sleep(duration_s)
    return faults + await _replace(processes[1::2])


async def _replace(processes: Sequence[SupervisedProcess]) -> list[Fault]:
    faults = []
    for process in processes:
        process.command = program(None)
        began = time.time()
        if process.ready.is_set():
            process.terminate()
        else:
            process.kill()  # one that starts has not yet learnt to end well
        await process.ready.wait()
        faults.append(Fault(f"{process.role} upgraded", began, time.time()))
        await _until_slot_called()
    return faults


async def _until_slot_called() -> None:
    await asyncio.sleep(BETWEEN_S)
    await asyncio.sleep(-time.time() % MINUTE + SLOT_CALLED_S)

"""Faults of the service's own processes and of their hosts. Each returns whether it happened."""

import asyncio
import random
import time

from tests.drill.environment import DrillEnvironment

FROZEN_S = (7.0, 22.0)
"""Past the heartbeat (5 s), and at times past the lease of an attempt (16 s)."""
WRONG_CLOCK_S = (10.0, 25.0)
CLOCK_STEP_S = 600
MINUTE = 60.0
LATEST_CALLS = 500
POISONED_S = 50.0
"""From a slot on: time for the four attempts, none of which is answered."""


async def kill_worker(environment: DrillEnvironment, chance: random.Random) -> bool:
    """Kill one that is ready."""
    return _kill(environment, chance, "worker")


async def kill_responder(environment: DrillEnvironment, chance: random.Random) -> bool:
    """Kill one that is ready."""
    return _kill(environment, chance, "responder")


def _kill(environment: DrillEnvironment, chance: random.Random, role: str) -> bool:
    ready = environment.of(role)
    if ready:
        chance.choice(ready).kill()
    return bool(ready)


async def stop_worker(environment: DrillEnvironment, chance: random.Random) -> bool:
    """Ask one that is ready to end (SIGTERM)."""
    return _terminate(environment, chance, "worker")


async def stop_responder(environment: DrillEnvironment, chance: random.Random) -> bool:
    """Ask one that is ready to end (SIGTERM)."""
    return _terminate(environment, chance, "responder")


def _terminate(environment: DrillEnvironment, chance: random.Random, role: str) -> bool:
    ready = environment.of(role)
    if ready:
        chance.choice(ready).terminate()
    return bool(ready)


async def freeze_worker(environment: DrillEnvironment, chance: random.Random) -> bool:
    """Let one stand still for a while."""
    if ready := environment.of("worker"):
        process = chance.choice(ready)
        process.freeze()
        await asyncio.sleep(chance.uniform(*FROZEN_S))
        process.thaw()
        return True
    return False


async def step_clock(environment: DrillEnvironment, chance: random.Random) -> bool:
    """Set the clock of a worker's host ten minutes ahead or behind, then right again."""
    if not environment.clocks:
        return False
    clock = chance.choice(environment.clocks)
    clock.step(chance.choice((-CLOCK_STEP_S, CLOCK_STEP_S)))
    await asyncio.sleep(chance.uniform(*WRONG_CLOCK_S))
    clock.step(0)
    return True


async def poison_bridges(environment: DrillEnvironment, chance: random.Random) -> bool:
    """Let one schedule's calls end the bridges that have them, from its next slot on.

    Returns False: the Runner itself records the end of each bridge.
    """
    runner = environment.runner
    if runner.calls:
        runner.poison = chance.choice(runner.calls[-LATEST_CALLS:]).schedule_id
        await asyncio.sleep(-time.time() % MINUTE + POISONED_S)
        runner.poison = None
    return False

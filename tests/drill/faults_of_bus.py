"""Faults of the NATS cluster. Each returns whether it happened."""

import asyncio
import os
import random
import signal

from devstack.embedded.servers import Server
from tests.drill.environment import DrillEnvironment
from tests.support.eventually import eventually
from tests.support.faulty_proxy import Disturbance
from tests.support.trouble import frozen

FROZEN_S = (3.0, 9.0)
LAME_DUCK_ENDS_WITHIN_S = 60.0


async def restart_all(environment: DrillEnvironment, chance: random.Random) -> bool:
    """Kill all servers at once, and start them up to 2 s later."""
    return await _restart(chance, *(each.server for each in environment.nats.servers))


async def restart_one(environment: DrillEnvironment, chance: random.Random) -> bool:
    """Kill one server, and start it up to 2 s later."""
    return await _restart(chance, chance.choice(environment.nats.servers).server)


async def _restart(chance: random.Random, *servers: Server) -> bool:
    await asyncio.gather(*(asyncio.to_thread(each.kill) for each in servers))
    await asyncio.sleep(chance.uniform(0.0, 2.0))
    await asyncio.gather(*(asyncio.to_thread(each.start) for each in servers))
    return True


async def freeze_one(environment: DrillEnvironment, chance: random.Random) -> bool:
    """Let one server stand still for a while, its sockets open."""
    with frozen([chance.choice(environment.nats.servers).server.pid]):
        await asyncio.sleep(chance.uniform(*FROZEN_S))
    return True


async def retire_one(environment: DrillEnvironment, chance: random.Random) -> bool:
    """Let one server send its clients away and end (lame duck mode), and start it again."""
    server = chance.choice(environment.nats.servers).server
    os.kill(server.pid, signal.SIGUSR2)
    await eventually(lambda: not server.running, within=LAME_DUCK_ENDS_WITHIN_S)
    await asyncio.to_thread(server.start)
    return True


async def cut_routes(environment: DrillEnvironment, chance: random.Random) -> bool:
    """Let each server reach only its own clients for a while: routes end, and none is made."""
    return await _disturb_routes(environment, Disturbance.CUT, chance.uniform(*FROZEN_S))


async def freeze_routes(environment: DrillEnvironment, chance: random.Random) -> bool:
    """Cut the routes silently for a while: what the servers send to each other comes later."""
    return await _disturb_routes(environment, Disturbance.FROZEN, chance.uniform(*FROZEN_S))


async def _disturb_routes(
    environment: DrillEnvironment, disturbance: Disturbance, seconds: float
) -> bool:
    environment.nats.disturb_routes(disturbance)
    await asyncio.sleep(seconds)
    environment.nats.disturb_routes(Disturbance.NONE)
    return True

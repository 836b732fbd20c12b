"""Honest requests all the time, each asked once: when they are answered again shows healing.

And how busy the machine is meanwhile.
"""

import asyncio
import os
import time
from contextlib import suppress

from nats.errors import Error as NatsError

from contracts.errors import ServiceError
from runner_bridge.client import SchedulerHost
from tests.drill.history import Probe

EVERY_S = 0.3
LOAD_EVERY_S = 15.0


async def probe_all_the_time(
    scheduler: SchedulerHost, probes: list[Probe], stopping: asyncio.Event
) -> None:
    """Ask one question after another, without waiting for the answers, until stopped."""
    async with asyncio.TaskGroup() as questions:
        while not stopping.is_set():
            questions.create_task(_probe(scheduler, probes))
            await asyncio.sleep(EVERY_S)


async def _probe(scheduler: SchedulerHost, probes: list[Probe]) -> None:
    asked = time.time()
    try:
        await scheduler.list()
    except (ServiceError, NatsError):
        probes.append(Probe(asked, None))
    else:
        probes.append(Probe(asked, time.time()))


async def record_load(loads: list[float], stopping: asyncio.Event) -> None:
    """Append the machine's load average over a minute, again and again, until stopped."""
    while not stopping.is_set():
        loads.append(os.getloadavg()[0])
        with suppress(TimeoutError):
            async with asyncio.timeout(LOAD_EVERY_S):
                await stopping.wait()

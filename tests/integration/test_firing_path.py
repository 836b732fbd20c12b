"""The functions that a fired slot passes, as ``docs/architecture.md`` lists them."""

import asyncio
from typing import Any

import asyncpg
from nats.aio.client import Client

from contracts.subjects import EXECUTE_SUBJECT
from service.runtime.metrics import Metrics
from service.storage.engine import clock
from service.worker.runner_client import RunnerClient
from service.worker.worker import Worker
from tests.support import schedule_rows
from tests.support.bus_service import a_client
from tests.support.call_path import documented_path, recorded_paths
from tests.support.eventually import eventually
from tests.support.keys import WORKER_KEY
from tests.support.platform import TICK, install
from tests.support.runner_double import bus_runner

MAX_FUNCTIONS = 9
RUNS = 20


def is_execute_request(arguments: dict[str, Any]) -> bool:
    return bytes(arguments["cmd"]).startswith(f"HPUB {EXECUTE_SUBJECT} ".encode())


async def test_fired_slot_passes_the_documented_functions(
    pool: asyncpg.Pool, nats_url: str
) -> None:
    async with pool.acquire() as connection:
        installed = await install(connection, materialised=TICK)
        slot = (await clock.read(connection)).replace(second=0, microsecond=0)
        for _ in range(RUNS):
            await schedule_rows.schedule(connection, installed, cron="0 0 1 1 *", due_at=slot)
    stopping = asyncio.Event()
    async with a_client(nats_url) as client, bus_runner(nats_url) as runner:
        worker = Worker(pool, RunnerClient(client, lambda: WORKER_KEY), Metrics())
        with recorded_paths(Client._send_command, is_execute_request) as paths:
            running = asyncio.create_task(worker.run(stopping))
            await eventually(lambda: len(runner.calls) == RUNS)
        stopping.set()
        await running
    assert paths == {documented_path("The path of a fired slot")}
    assert len(paths.pop()) <= MAX_FUNCTIONS

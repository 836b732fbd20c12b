"""One tenant with 10,000 due occurrences whose calls hang does not hold up the others."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg
import pytest

from service.bus.client import NatsConnection
from service.rules.planning import PlanningRules
from service.runtime.metrics import Metrics
from service.storage.engine import clock
from service.storage.runs import occurrences
from service.worker.firing import FiringSettings
from service.worker.planner import PlannerSettings
from service.worker.runner_client import RunnerClient
from service.worker.worker import Worker, WorkerSettings
from tests.support import schedule_rows
from tests.support.bus_service import a_client
from tests.support.eventually import eventually
from tests.support.keys import WORKER_KEY
from tests.support.platform import TICK, Installed, install
from tests.support.runner_double import ReceivedCall, RunnerDouble, bus_runner

GREEDY, DUE = "greedy", 10_000
# No call that hangs gives up before the end: its place would be counted twice.
FIRING = FiringSettings(runner_timeout_s=240.0)
# The current minute's slot is never late: nothing here is about catching up.
SETTINGS = WorkerSettings(
    planner=PlannerSettings(rules=PlanningRules(late_after=timedelta(minutes=10))),
    firing=FIRING,
    drain_s=0.1,
)
LITTLE_S = FIRING.runner_timeout_s / 4
"""Whoever is held up waits until calls that hang have given up, and that many times over."""
CRON = "0 0 1 1 *"
MANY = f"""
WITH made AS (
  INSERT INTO tenant_extension_schedule (install_id, tenant_id, endpoint_id, cron)
  SELECT $1, $2, endpoint.id, '{CRON}'
  FROM extension_api_endpoint AS endpoint, generate_series(1, $4::integer)
  WHERE endpoint.version_id = $3
  RETURNING id, tenant_id, install_id, cron
)
INSERT INTO ext_scheduler.timers (tenant_id, schedule_id, install_id, cron, timezone, due_at)
SELECT tenant_id, id, install_id, cron, 'UTC', $5 FROM made
"""
# How long after it could be started a run was.
LATENESS = """
SELECT extract(epoch FROM started_at - queued_at)::float FROM ext_scheduler.runs
WHERE tenant_id = $1 AND schedule_id = $2
"""


@asynccontextmanager
async def working(pool: asyncpg.Pool, client: NatsConnection) -> AsyncIterator[None]:
    worker = Worker(pool, RunnerClient(client, lambda: WORKER_KEY), Metrics(), SETTINGS)
    stopping = asyncio.Event()
    task = asyncio.create_task(worker.run(stopping))
    try:
        yield
    finally:
        stopping.set()
        await task


async def hang_for_the_greedy(call: ReceivedCall) -> bytes:
    if call.request["context"]["tenant_id"] == GREEDY:
        await asyncio.Event().wait()
    return b'{"status":200}'


async def due(pool: asyncpg.Pool, tenant_id: str, slot: datetime) -> tuple[Installed, UUID]:
    async with pool.acquire() as connection:
        made = await install(connection, tenant_id=tenant_id, materialised=TICK)
        return made, await schedule_rows.schedule(connection, made, cron=CRON, due_at=slot)


async def lateness(pool: asyncpg.Pool, tenant_id: str, schedule_id: UUID) -> float:
    async def started() -> list[float]:
        rows = await pool.fetch(LATENESS, tenant_id, schedule_id)
        return [row[0] for row in rows if row[0] is not None]

    return float((await eventually(started))[0])


async def run_now(pool: asyncpg.Pool, number: int) -> float:
    """Return the seconds until a manual run starts, of a tenant that had none so far."""
    async with pool.acquire() as connection:
        made = await install(connection, tenant_id=f"later-{number}", materialised=TICK)
        id_ = await schedule_rows.schedule(connection, made, cron=CRON)
        now = await clock.read(connection)
        await occurrences.plan_manual_run(connection, made.tenant_id, made.install_id, id_, now)
    return await lateness(pool, made.tenant_id, id_)


async def all_planned(pool: asyncpg.Pool) -> bool:
    return await pool.fetchval("SELECT count(*) = $1 FROM ext_scheduler.runs", DUE + 5)  # type: ignore[no-any-return]  # a boolean


async def full(runner: RunnerDouble) -> bool:
    return runner.in_flight >= FIRING.in_flight // 2


@pytest.mark.timeout(600)
async def test_ten_thousand_hanging_calls_do_not_delay_other_calls(
    pool: asyncpg.Pool, nats_url: str
) -> None:
    async with pool.acquire() as connection:
        slot = (await clock.read(connection)).replace(second=0, microsecond=0)
        greedy = await install(connection, tenant_id=GREEDY, materialised=TICK)
        ids = greedy.install_id, greedy.tenant_id, greedy.version_id
        await connection.execute(MANY, *ids, DUE, slot)
    others = [await due(pool, f"other-{number}", slot) for number in range(5)]
    async with a_client(nats_url) as client, bus_runner(nats_url) as runner:
        runner.script = hang_for_the_greedy
        async with working(pool, client):
            for made, id_ in others:
                assert await lateness(pool, made.tenant_id, id_) < LITTLE_S
            await eventually(lambda: all_planned(pool), 180)
            await eventually(lambda: full(runner))
            # What cannot be seated is taken and handed back all the while.
            assert max([await run_now(pool, number) for number in range(8)]) < LITTLE_S
            assert runner.in_flight <= FIRING.in_flight // 2 + 1
            waiting = await pool.fetchval(
                "SELECT count(*) FROM ext_scheduler.runs WHERE status = 'queued'"
            )
            assert waiting >= DUE - FIRING.in_flight, "work waits in the database"

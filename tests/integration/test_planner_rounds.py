"""The planner's rounds: how much it plans at a time, and when it waits, for room or for time."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import asyncpg
import pytest

from service.runtime.metrics import Metrics
from service.worker import direct_claims
from service.worker.direct_claims import DirectClaims
from service.worker.firing import RunExecutor
from service.worker.job_consumer import JobConsumer, JobConsumerSettings
from service.worker.planner import Planner, PlannerSettings
from tests.support import schedule_rows
from tests.support.eventually import eventually
from tests.support.firing_stack import SLOT, Stack, firing_stack

SETTINGS = PlannerSettings(initial_batch=2, batch=4)
ROUND_TRIPS = 30
"""Many more than a round of the planner makes."""


@pytest.fixture
async def stack(pool: asyncpg.Pool, nats_url: str) -> AsyncIterator[Stack]:
    async with firing_stack(pool, nats_url) as stack:
        yield stack


@pytest.fixture
async def executor(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> RunExecutor:
    """Return one that calls eight runs at once; who waits for its room waits without an end."""
    monkeypatch.setattr(direct_claims, "ROOM_LOOKS", 10**6)
    return stack.another(in_flight=8)


def planning(stack: Stack, executor: RunExecutor) -> Planner:
    consumer = JobConsumer(stack.pool, executor.execute, JobConsumerSettings())
    claims = DirectClaims(consumer, executor, stack.settings)
    return Planner(stack.pool, stack.metrics, SETTINGS, stack.clock, claims)


async def due(stack: Stack, count: int) -> None:
    async with stack.pool.acquire() as connection:
        for _ in range(count):
            await schedule_rows.schedule(connection, stack.made, due_at=SLOT)


async def runs(stack: Stack) -> int:
    count: int = await stack.pool.fetchval("SELECT count(*) FROM ext_scheduler.runs")
    return count


def take_room(executor: RunExecutor) -> list[str]:
    """Acquire every permit that is left; return whose they are."""
    taken: list[str] = []
    while executor.limiter.try_acquire(f"other-{len(taken)}"):
        taken.append(f"other-{len(taken)}")
    assert executor.room == 0
    return taken


async def for_a_while(pool: asyncpg.Pool) -> None:
    for _ in range(ROUND_TRIPS):
        await pool.fetchval("SELECT 1")


async def test_batches_grow_from_the_first_and_begin_anew_when_nothing_is_due(
    stack: Stack,
) -> None:
    planner = Planner(stack.pool, stack.metrics, SETTINGS, stack.clock)
    await due(stack, 8)
    seen = []
    for _ in range(3):
        assert await planner.plan_once() == timedelta(0)
        seen.append(await runs(stack))
    assert seen == [2, 6, 8]
    assert await planner.plan_once() > timedelta(0)
    await due(stack, 3)
    await planner.plan_once()
    assert await runs(stack) == 10


@pytest.mark.parametrize("late_s", [1.0, 9.0])
async def test_who_keeps_pace_waits_for_room_before_the_rest(
    stack: Stack, executor: RunExecutor, late_s: float
) -> None:
    planner = planning(stack, executor)
    stack.clock.now = SLOT + timedelta(seconds=late_s)
    await due(stack, 5)
    await planner.plan_once()
    assert await runs(stack) == 2
    taken = take_room(executor)
    waiting = asyncio.create_task(planner.plan_once())
    await for_a_while(stack.pool)
    assert (waiting.done(), await runs(stack)) == (False, 2)
    for tenant in taken:
        executor.limiter.release(tenant, 0.0)
    await waiting
    # Nobody takes from the queue here, so these were claimed as planned; some calls have ended.
    claimed = "SELECT count(*) FROM ext_scheduler.runs WHERE status <> 'queued'"
    assert await stack.pool.fetchval(claimed) > 2


@pytest.mark.parametrize(("late_s", "first"), [(10.0, 2), (60.0, 2), (1.0, 1)])
async def test_who_is_late_or_has_planned_all_does_not_wait_for_room(
    stack: Stack, executor: RunExecutor, late_s: float, first: int
) -> None:
    planner = planning(stack, executor)
    stack.clock.now = SLOT + timedelta(seconds=late_s)
    await due(stack, first)
    await planner.plan_once()
    take_room(executor)
    await due(stack, 1)
    async with asyncio.timeout(60):
        await planner.plan_once()
    assert await runs(stack) == first + 1


async def test_the_planner_sleeps_where_nothing_is_due(pool: asyncpg.Pool) -> None:
    looks = 0

    async def now(_: object) -> datetime:
        nonlocal looks
        looks += 1
        return SLOT

    stopping = asyncio.Event()
    settings = PlannerSettings(poll=timedelta(hours=1))
    running = asyncio.create_task(Planner(pool, Metrics(), settings, now).run(stopping))
    await eventually(lambda: looks)
    await for_a_while(pool)
    stopping.set()
    await running
    assert looks == 1


async def test_the_planner_ends_with_an_error_that_no_database_raised(pool: asyncpg.Pool) -> None:
    async def broken(_: object) -> datetime:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        async with asyncio.timeout(60):
            await Planner(pool, Metrics(), now=broken).run(asyncio.Event())

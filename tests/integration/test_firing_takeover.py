"""Overlap, leases and fences: one call of a schedule at a time, whatever worker dies."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from service.rules.outcomes import CallOutcome
from service.rules.planning import SlotCache
from service.storage.runs.updates import RunUpdate
from service.worker.firing.attempt import AttemptResult, ClaimedAttempt
from service.worker.firing.attempt_store import AttemptStore
from service.worker.planner import PlannerSettings, plan_due
from tests.support.eventually import eventually
from tests.support.firing_stack import SLOT, Stack, firing_stack
from tests.support.firing_stack import job as job_of
from tests.support.runner_double import ReceivedCall, answering, status


@pytest.fixture
async def stack(pool: asyncpg.Pool, nats_url: str) -> AsyncIterator[Stack]:
    async with firing_stack(pool, nats_url) as stack:
        yield stack


async def test_run_is_skipped_while_another_of_its_schedule_runs(stack: Stack) -> None:
    release = asyncio.Event()

    async def held(_: ReceivedCall) -> bytes:
        await release.wait()
        return b'{"status":200}'

    stack.runner.script = held
    job = await stack.planned()
    first = asyncio.create_task(stack.executor.execute(job))
    await eventually(lambda: stack.runner.calls)
    manual = await stack.manual(job.schedule_id)
    assert await stack.another(worker="worker-2").execute(manual) is None
    skipped = await stack.run(manual)
    assert (skipped["status"], skipped["error"]) == ("skipped_overlap", "overlap")
    assert (await stack.schedule(job))["last_run_status"] is None
    release.set()
    assert await first is None
    assert (await stack.run(job))["status"] == "success"
    assert len(stack.runner.calls) == 1


async def test_run_is_skipped_while_another_waits_for_its_retry(stack: Stack) -> None:
    stack.runner.script = status(503)
    job = await stack.planned()
    await stack.executor.execute(job)
    manual = await stack.manual(job.schedule_id)
    await stack.executor.execute(manual)
    assert (await stack.run(manual))["status"] == "skipped_overlap"
    assert len(stack.runner.calls) == 1


async def test_two_runs_of_a_schedule_at_once_are_one_call(stack: Stack) -> None:
    job = await stack.planned()
    manual = await stack.manual(job.schedule_id)
    started = asyncio.Event()

    async def slow(_: ReceivedCall) -> bytes:
        await started.wait()
        return b'{"status":200}'

    stack.runner.script = slow
    others = [stack.another(worker=f"worker-{n}") for n in range(2)]
    firing = [
        asyncio.create_task(executor.execute(job))
        for executor, job in zip(others, (job, manual), strict=True)
    ]
    await eventually(lambda: any(task.done() for task in firing) and stack.runner.calls)
    started.set()
    await asyncio.gather(*firing)
    ends = sorted([(await stack.run(job))["status"], (await stack.run(manual))["status"]])
    assert ends == ["skipped_overlap", "success"]
    assert len(stack.runner.calls) == 1


async def test_dead_owner_of_a_slot_blocks_its_schedule_only_until_its_lease_ends(
    stack: Stack,
) -> None:
    job = await stack.planned()
    await die_calling(stack, job)
    stack.clock.forward(300)
    manual = await stack.manual(job.schedule_id)
    assert await stack.executor.execute(manual) is None
    assert (await stack.run(manual))["status"] == "success"


async def die_calling(stack: Stack, job: Any) -> None:
    """Let a worker take the run and die in its call."""
    never = asyncio.Event()

    async def silence(_: ReceivedCall) -> None:
        await never.wait()

    script, stack.runner.script = stack.runner.script, silence
    calls = len(stack.runner.calls)
    dying = asyncio.create_task(stack.another(worker="dying").execute(job))
    await eventually(lambda: len(stack.runner.calls) > calls)
    dying.cancel()
    await asyncio.gather(dying, return_exceptions=True)
    stack.runner.script = script


async def test_job_of_a_valid_lease_is_postponed_until_the_lease_ends(stack: Stack) -> None:
    job = await stack.planned()
    await die_calling(stack, job)
    stack.clock.forward(30)
    delay = await stack.executor.execute(job)
    assert delay is not None
    assert timedelta(seconds=12) <= delay <= timedelta(seconds=13)
    stack.clock.forward(delay.total_seconds())
    assert await stack.executor.execute(job) is None
    run = await stack.run(job)
    assert (run["status"], run["attempts"], run["worker"]) == ("success", 2, "worker-1")
    assert len({call.key for call in stack.runner.calls}) == 1


async def test_run_that_kills_its_workers_ends_as_worker_lost(stack: Stack) -> None:
    job = await stack.planned(cron="0 12 * * *")
    for _ in range(4):
        await die_calling(stack, job)
        stack.clock.forward(60)
    assert await stack.executor.execute(job) is None
    run = await stack.run(job)
    assert (run["status"], run["attempts"], run["error"]) == ("error", 4, "worker lost")
    assert (await stack.schedule(job))["last_error"] == "worker lost"
    assert len(stack.runner.calls) == 4


async def test_run_of_a_dead_worker_is_lost_once_the_next_slot_is_due(stack: Stack) -> None:
    job = await stack.planned()
    await die_calling(stack, job)
    stack.clock.forward(300)
    assert await stack.executor.execute(job) is None
    run = await stack.run(job)
    assert (run["status"], run["attempts"], run["error"]) == ("error", 1, "worker lost")
    assert len(stack.runner.calls) == 1


async def test_ending_a_lost_run_does_not_hold_up_the_next_one(stack: Stack) -> None:
    lost = await stack.planned()
    await die_calling(stack, lost)
    stack.clock.forward(300)
    async with stack.pool.acquire() as connection:
        await plan_due(connection, stack.clock.now, PlannerSettings(), SlotCache())
    following = job_of(lost.tenant_id, lost.schedule_id, SLOT + timedelta(minutes=5))
    store = AttemptStore(stack.pool, stack.settings, stack.clock)
    [attempt] = await store.claim([lost])
    assert isinstance(attempt, ClaimedAttempt)
    assert attempt.lost == "worker lost"
    assert await stack.executor.execute(following) is None
    assert (await stack.run(following))["status"] == "success"
    [update] = await store.write(
        [AttemptResult(attempt=attempt, outcome=CallOutcome(error=attempt.lost, final=True))]
    )
    assert isinstance(update, RunUpdate)


async def test_ended_lost_run_no_longer_blocks_its_schedule(stack: Stack) -> None:
    lost = await stack.planned(cron="0 12 * * *")
    for _ in range(4):
        await die_calling(stack, lost)
        stack.clock.forward(43)
    assert await stack.pool.fetchval("SELECT count(*) FROM ext_scheduler.active_runs") == 1
    assert await stack.executor.execute(lost) is None
    assert await stack.pool.fetchval("SELECT count(*) FROM ext_scheduler.active_runs") == 0


async def test_frozen_worker_that_wakes_changes_nothing(stack: Stack) -> None:
    job = await stack.planned(cron="0 12 * * *")
    release = asyncio.Event()

    async def held(_: ReceivedCall) -> bytes:
        await release.wait()
        return b'{"status":500}'

    stack.runner.script = held
    frozen = asyncio.create_task(stack.another(worker="frozen").execute(job))
    await eventually(lambda: stack.runner.calls)
    stack.clock.forward(60)
    stack.runner.script = answering(b'{"status":201}')
    assert await stack.executor.execute(job) is None
    before = dict(await stack.run(job))
    release.set()
    assert await frozen is None
    assert dict(await stack.run(job)) == before
    assert (before["status"], before["http_status"], before["attempts"]) == ("success", 201, 2)
    assert await stack.events() == ["run.succeeded"]
    assert (await stack.schedule(job))["last_run_status"] == "success"


async def test_frozen_worker_does_not_end_its_successors_call(stack: Stack) -> None:
    job = await stack.planned(cron="0 12 * * *")
    old, new = asyncio.Event(), asyncio.Event()

    async def held(call: ReceivedCall) -> bytes:
        await (old if call.request["context"]["attempt"] == 1 else new).wait()
        return b'{"status":200}'

    stack.runner.script = held
    frozen = asyncio.create_task(stack.another(worker="frozen").execute(job))
    await eventually(lambda: len(stack.runner.calls) == 1)
    stack.clock.forward(60)
    successor = asyncio.create_task(stack.executor.execute(job))
    await eventually(lambda: len(stack.runner.calls) == 2)
    old.set()
    await frozen
    run = await stack.run(job)
    assert (run["status"], run["worker"]) == ("running", "worker-1")
    assert await stack.pool.fetchval("SELECT count(*) FROM ext_scheduler.active_runs") == 1
    new.set()
    await successor
    assert (await stack.run(job))["status"] == "success"


async def test_same_job_claimed_twice_concurrently_is_called_once(stack: Stack) -> None:
    job = await stack.planned()
    workers = [stack.another(worker=f"worker-{n}") for n in range(4)]
    await asyncio.gather(*(worker.execute(job) for worker in workers))
    assert len(stack.runner.calls) == 1
    run = await stack.run(job)
    assert (run["status"], run["attempts"]) == ("success", 1)

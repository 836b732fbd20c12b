"""A database that commits what an attempt writes, and whose answer is lost."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest

from service.rules.outcomes import CallOutcome
from service.runtime.metrics import Metrics
from service.storage.engine import clock
from service.storage.runs.queue import JobDelay, JobEnd, JobPayload
from service.worker.firing import ClaimedAttempt
from service.worker.firing.attempt import AttemptResult
from service.worker.firing.attempt_store import AttemptStore
from service.worker.job_consumer import JobConsumer, JobConsumerSettings
from service.worker.planner import Planner
from tests.integration.test_direct_claims import batch, planned
from tests.support import schedule_rows
from tests.support.eventually import eventually
from tests.support.faulty_proxy import Disturbance, FaultyProxy, faulty_proxy
from tests.support.firing_stack import Stack, firing_stack
from tests.support.platform import TICK, install
from tests.support.pools import pool_of
from tests.support.runner_double import ReceivedCall, Response, Script, answering, status

LOST = (asyncpg.PostgresConnectionError, asyncpg.InterfaceError, OSError)


@pytest.fixture
async def proxy(database: str) -> AsyncIterator[FaultyProxy]:
    async with faulty_proxy(database) as proxy:
        yield proxy


@pytest.fixture
async def stack(proxy: FaultyProxy, nats_url: str) -> AsyncIterator[Stack]:
    async with (
        pool_of(proxy.dsn, min_size=1, max_size=4) as pool,
        firing_stack(pool, nats_url) as stack,
    ):
        yield stack


async def executed(
    stack: Stack, proxy: FaultyProxy, work: JobPayload | ClaimedAttempt, answer: Script
) -> JobDelay | JobEnd:
    """Execute an attempt; the answers to COMMIT are lost from its call on, until one was."""

    async def disturbed(call: ReceivedCall) -> Response:
        proxy.disturb(Disturbance.LOST_COMMITS)
        return await answer(call)

    async def lost() -> bool:
        return proxy.answers_lost > 0

    stack.runner.script = disturbed
    execution = asyncio.create_task(stack.executor.execute(work))
    await eventually(lost)
    proxy.disturb(Disturbance.NONE)
    return await execution


async def test_a_run_that_waits_for_its_retry_keeps_its_job(
    stack: Stack, proxy: FaultyProxy
) -> None:
    job = await stack.planned()
    assert await executed(stack, proxy, job, status(500)) == timedelta(seconds=5)
    run = await stack.run(job)
    assert (run["status"], run["attempts"]) == ("queued", 1)
    assert run["retry_at"] == stack.clock.now + timedelta(seconds=5)
    stack.clock.forward(5)
    stack.runner.script = answering(b'{"status":200,"headers":{}}')
    assert await stack.executor.execute(job) is None
    run = await stack.run(job)
    assert (run["status"], run["attempts"], len(stack.runner.calls)) == ("success", 2, 2)


async def test_a_run_that_ended_is_written_once(stack: Stack, proxy: FaultyProxy) -> None:
    job = await stack.planned()
    ok = answering(b'{"status":200,"headers":{}}')
    assert await executed(stack, proxy, job, ok) is None
    run = await stack.run(job)
    assert (run["status"], run["attempts"], len(stack.runner.calls)) == ("success", 1, 1)
    assert await stack.events() == ["run.succeeded"]


async def test_a_job_that_ended_with_its_run_is_not_missed(
    stack: Stack, proxy: FaultyProxy
) -> None:
    claims = batch(stack)
    (job,) = await planned(stack, claims)
    (attempt,) = claims.attempts.values()
    ok = answering(b'{"status":200,"headers":{}}')
    assert await executed(stack, proxy, attempt, ok) is None  # as its end is not known
    assert (await stack.run(job))["status"] == "success"
    assert await stack.events() == ["run.succeeded"]
    assert await stack.pool.fetchval("SELECT count(*) FROM ext_scheduler.pgqueuer") == 0


async def test_a_run_whose_claim_was_not_answered_is_called_at_once(
    stack: Stack, proxy: FaultyProxy
) -> None:
    job = await stack.planned()

    async def lost() -> bool:
        return proxy.answers_lost > 0

    proxy.disturb(Disturbance.LOST_COMMITS)
    execution = asyncio.create_task(stack.executor.execute(job))
    await eventually(lost)
    claimed = await stack.run(job)
    assert (claimed["status"], claimed["attempts"], stack.runner.calls) == ("running", 1, [])
    proxy.disturb(Disturbance.NONE)
    assert await execution is None
    run = await stack.run(job)
    assert (run["status"], run["attempts"], len(stack.runner.calls)) == ("success", 1, 1)
    assert run["started_at"] == claimed["started_at"]
    assert await stack.pool.fetchval("SELECT count(*) FROM ext_scheduler.run_attempts") == 0
    assert await stack.pool.fetchval("SELECT count(*) FROM ext_scheduler.active_runs") == 0


@pytest.mark.parametrize("step", ["claim", "write"])
async def test_what_is_not_answered_is_tried_again_after_pauses_that_grow(
    stack: Stack, proxy: FaultyProxy, step: str
) -> None:
    job = await stack.planned()
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    store = AttemptStore(stack.pool, stack.settings, stack.clock, sleep=pause)
    if step == "claim":
        proxy.disturb(Disturbance.LOST_COMMITS)
        with pytest.raises(LOST):
            await store.claim([job])
        assert pauses == [0.1, 0.2, 0.5, 1.0, 2.0]
    else:
        (attempt,) = await store.claim([job])
        assert isinstance(attempt, ClaimedAttempt)
        proxy.disturb(Disturbance.LOST_COMMITS)
        with pytest.raises(LOST):
            await store.write(
                [AttemptResult(attempt=attempt, outcome=CallOutcome(http_status=200))]
            )
        assert pauses == [0.1, 0.2, 0.5, 1.0, 2.0, 2.0, 4.0, 4.0]
    proxy.disturb(Disturbance.NONE)


async def test_a_run_that_can_only_end_ends_though_its_claim_was_not_answered(
    stack: Stack, proxy: FaultyProxy
) -> None:
    job = await stack.planned()
    await stack.pool.execute(
        "UPDATE ext_scheduler.runs SET status = 'running', attempts = 4, fence = 4,"
        " started_at = $1, lease_until = $1",
        stack.clock.now - timedelta(seconds=1),
    )

    async def lost() -> bool:
        return proxy.answers_lost > 0

    proxy.disturb(Disturbance.LOST_COMMITS)
    execution = asyncio.create_task(stack.executor.execute(job))
    await eventually(lost)
    proxy.disturb(Disturbance.NONE)
    assert await execution is None
    run = await stack.run(job)
    assert (run["status"], run["attempts"], run["error"]) == ("error", 4, "worker lost")
    assert stack.runner.calls == []


async def test_jobs_that_were_claimed_unanswered_are_handled_at_once(
    stack: Stack, proxy: FaultyProxy, pool: asyncpg.Pool
) -> None:
    await stack.planned()
    handled: list[JobPayload] = []

    async def handle(job: JobPayload) -> JobDelay:
        handled.append(job)
        return None

    async def empty() -> bool:
        return await pool.fetchval("SELECT count(*) FROM ext_scheduler.pgqueuer") == 0  # type: ignore[no-any-return]  # a boolean

    async def lost() -> bool:
        return proxy.answers_lost > 0

    # Taken over from a dead consumer only after an hour: nobody else would hand the job out.
    patient = JobConsumerSettings(poll_s=0.2, heartbeat_s=3600.0)
    consumer = JobConsumer(stack.pool, handle, patient)
    proxy.disturb(Disturbance.LOST_COMMITS)
    running = asyncio.create_task(consumer.run())
    await eventually(lost)
    assert handled == []
    proxy.disturb(Disturbance.NONE)
    await eventually(empty)
    consumer.stop()
    await running
    assert len(handled) == 1


async def test_a_planner_goes_on_after_an_unanswered_commit(
    proxy: FaultyProxy, pool: asyncpg.Pool
) -> None:
    async def due() -> None:
        async with pool.acquire() as connection:
            now = await clock.read(connection)
            await schedule_rows.schedule(connection, made, cron="0 0 1 1 *", due_at=now)

    async def lost() -> bool:
        return proxy.answers_lost > 0

    async def both_planned() -> bool:
        return await pool.fetchval("SELECT count(*) FROM ext_scheduler.runs") == 2  # type: ignore[no-any-return]  # a boolean

    async with pool.acquire() as connection:
        made = await install(connection, materialised=TICK)
    await due()
    stopping = asyncio.Event()
    async with pool_of(proxy.dsn, min_size=1, max_size=2) as own:
        proxy.disturb(Disturbance.LOST_COMMITS)
        running = asyncio.create_task(Planner(own, Metrics()).run(stopping))
        await eventually(lost)
        proxy.disturb(Disturbance.NONE)
        await due()
        await eventually(both_planned)
        stopping.set()
        await running

"""Runs that are claimed in the transaction that plans them: their share, and what faults leave."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from time import monotonic
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from msgspec import structs

from service.flow_control.fair_limiter import FairLimiter
from service.rules.planning import PlanningRules, SlotCache
from service.runtime.metrics import Metrics
from service.storage.runs import attempts, occurrences
from service.storage.runs.attempts import RunRecord
from service.storage.runs.direct_claims import hold_schedules
from service.storage.runs.queue import JobEnd, JobPayload
from service.worker.direct_claims import ClaimBatch, DirectClaims
from service.worker.firing import FiringSettings, RunExecutor
from service.worker.job_consumer import JobConsumer, JobConsumerSettings
from service.worker.planner import PlannerSettings, plan_due
from service.worker.runner_client import RunnerClient
from service.worker.worker import Worker, WorkerSettings
from tests.integration.test_firing_isolation import refuse
from tests.support import schedule_rows
from tests.support.eventually import eventually
from tests.support.faulty_proxy import Disturbance, FaultyProxy, faulty_proxy
from tests.support.firing_stack import SLOT, Stack, firing_stack
from tests.support.firing_stack import job as job_of
from tests.support.keys import WORKER_KEY
from tests.support.platform import TICK, install, waits_for_a_lock
from tests.support.pools import pool_of
from tests.support.runner_double import ReceivedCall, status

JOBS = """
SELECT r.status, r.attempts, r.fence, r.worker, q.status::text AS job, q.queue_manager_id AS owner
FROM ext_scheduler.runs r LEFT JOIN ext_scheduler.pgqueuer q
  ON convert_from(q.payload, 'UTF8')::jsonb ->> 'run_id' = r.id::text
ORDER BY r.status, r.id
"""
AHEAD_S = 60.0
"""By how much a claim begins later than it does, so that no machine is too slow for it."""
NEVER_LATE = PlannerSettings(rules=PlanningRules(late_after=timedelta(minutes=10)))


@pytest.fixture
async def stack(pool: asyncpg.Pool, nats_url: str) -> AsyncIterator[Stack]:
    async with firing_stack(pool, nats_url) as stack:
        yield stack


def batch(stack: Stack, limiter: FairLimiter | None = None, room: int = 100) -> ClaimBatch:
    """Return what the planner gets of the worker called worker-1."""
    return ClaimBatch(
        owner=uuid4(),
        settings=stack.settings,
        limiter=limiter or stack.executor.limiter,
        room=room,
        began_at_s=monotonic() + AHEAD_S,
    )


async def planned(stack: Stack, claims: ClaimBatch, count: int = 1) -> list[JobPayload]:
    """Plan that many schedules of one tenant, and commit; nothing of it is started."""
    async with stack.pool.acquire() as connection:
        ids = [
            await schedule_rows.schedule(connection, stack.made, due_at=SLOT) for _ in range(count)
        ]
        await plan_due(connection, stack.clock.now, PlannerSettings(), SlotCache(), claims)
    return [job_of(stack.made.tenant_id, id_, SLOT) for id_ in ids]


async def test_a_planned_run_is_written_as_claimed(stack: Stack) -> None:
    claims = batch(stack)
    (job,) = await planned(stack, claims)
    (row,) = await stack.pool.fetch(JOBS)
    assert dict(row) == {
        "status": "running",
        "attempts": 1,
        "fence": 1,
        "worker": "worker-1",
        "job": "picked",
        "owner": claims.owner,
    }
    (attempt,) = claims.attempts.values()
    run = await stack.run(job)
    assert (attempt.run.lease_until, attempt.run.started_at) == (
        run["lease_until"],
        run["started_at"],
    )
    assert run["lease_until"] == stack.clock.now + stack.settings.lease
    assert await stack.executor.execute(attempt) is JobEnd.WRITTEN
    assert (await stack.run(job))["status"] == "success"
    assert len(stack.runner.calls) == 1
    assert await stack.pool.fetchval("SELECT count(*) FROM ext_scheduler.active_runs") == 0
    assert await left_jobs(stack) == 0


async def left_jobs(stack: Stack) -> int:
    count: int = await stack.pool.fetchval("SELECT count(*) FROM ext_scheduler.pgqueuer")
    return count


async def test_a_run_that_waits_for_a_retry_keeps_its_job(stack: Stack) -> None:
    claims = batch(stack)
    (job,) = await planned(stack, claims)
    stack.runner.script = status(500)
    (attempt,) = claims.attempts.values()
    assert await stack.executor.execute(attempt) == timedelta(seconds=5)
    assert (await stack.run(job))["status"] == "queued"
    assert await left_jobs(stack) == 1


async def test_a_stale_attempt_leaves_the_job_to_its_new_owner(stack: Stack) -> None:
    claims = batch(stack)
    await planned(stack, claims)
    await stack.pool.execute("UPDATE ext_scheduler.runs SET fence = fence + 1")
    await stack.pool.execute("UPDATE ext_scheduler.pgqueuer SET queue_manager_id = $1", uuid4())
    (attempt,) = claims.attempts.values()
    assert await stack.executor.execute(attempt) is None
    assert await left_jobs(stack) == 1


async def test_a_job_that_the_database_refuses_to_end_does_not_spoil_the_results(
    stack: Stack,
) -> None:
    claims = batch(stack)
    of = await planned(stack, claims, 5)
    refused = next(iter(claims.attempts))
    await refuse(stack.pool, "DELETE", "pgqueuer", f"OLD.id = {refused}")
    done = await asyncio.gather(*map(stack.executor.execute, claims.attempts.values()))
    assert dict(zip(claims.attempts, done, strict=True)) == {
        id_: None if id_ == refused else JobEnd.WRITTEN for id_ in claims.attempts
    }
    assert {(await stack.run(job))["status"] for job in of} == {"success"}
    assert await stack.events() == ["run.succeeded"] * 5
    assert await left_jobs(stack) == 1


REFUSE_AT_COMMIT = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE check_violation USING MESSAGE = 'poison'; END $$;
CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON ext_scheduler.runs_default
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
WHEN (NEW.status = 'running') EXECUTE FUNCTION refuse()
"""


async def test_what_was_refused_at_its_commit_is_planned_again_and_not_called(
    stack: Stack,
) -> None:
    await stack.pool.execute(REFUSE_AT_COMMIT)
    claims = batch(stack)
    await planned(stack, claims, 3)
    assert claims.attempts == {}
    rows = await stack.pool.fetch(JOBS)
    assert [(row["status"], row["job"], row["owner"]) for row in rows] == [
        ("queued", "queued", None)
    ] * 3


async def test_a_tenant_gets_its_share_and_the_rest_waits_in_the_queue(stack: Stack) -> None:
    claims = batch(stack, FairLimiter(20))
    await planned(stack, claims, 30)
    rows = await stack.pool.fetch(JOBS)
    assert [row["job"] for row in rows if row["status"] == "running"] == ["picked"] * 10
    assert [row["job"] for row in rows if row["status"] == "queued"] == ["queued"] * 20
    assert len(claims.attempts) == claims.limiter.in_use == 10


async def test_no_more_is_claimed_than_there_is_room_for(stack: Stack) -> None:
    claims = batch(stack, room=3)
    await planned(stack, claims, 5)
    assert len(claims.attempts) == 3


async def test_the_first_of_each_tenant_are_claimed_before_the_others(stack: Stack) -> None:
    async with stack.pool.acquire() as connection:
        other = await install(connection, tenant_id="tenant-2", materialised=TICK)
        for made in (stack.made, stack.made, stack.made, other):
            await schedule_rows.schedule(connection, made, due_at=SLOT)
        claims = batch(stack, room=2)
        await plan_due(connection, stack.clock.now, PlannerSettings(), SlotCache(), claims)
    tenants = {each.run.tenant_id for each in claims.attempts.values()}
    assert (len(claims.attempts), tenants) == (2, {stack.made.tenant_id, "tenant-2"})


async def test_a_run_beside_an_active_one_is_queued(stack: Stack) -> None:
    async with stack.pool.acquire() as connection:
        id_ = await schedule_rows.schedule(connection, stack.made)
    manual = await stack.manual(id_)
    release = asyncio.Event()

    async def held(_: ReceivedCall) -> bytes:
        await release.wait()
        return b'{"status":200}'

    stack.runner.script = held
    running = asyncio.create_task(stack.executor.execute(manual))
    await eventually(lambda: stack.runner.calls)
    await stack.pool.execute(
        "INSERT INTO ext_scheduler.timers (tenant_id, schedule_id, install_id, cron, timezone,"
        " due_at) SELECT tenant_id, id, install_id, cron, timezone, $1 FROM"
        " tenant_extension_schedule",
        SLOT,
    )
    claims = batch(stack)
    async with stack.pool.acquire() as connection:
        await plan_due(connection, stack.clock.now, PlannerSettings(), SlotCache(), claims)
    assert claims.attempts == {}
    job = job_of(stack.made.tenant_id, id_, SLOT)
    assert (await stack.run(job))["status"] == "queued"
    assert await stack.another(worker="worker-2").execute(job) is None
    assert (await stack.run(job))["status"] == "skipped_overlap"
    release.set()
    await running


async def test_a_schedule_that_another_worker_claims_meanwhile_is_left_to_it(
    stack: Stack,
) -> None:
    jobs = [await stack.planned(), await stack.planned()]
    now = stack.clock.now

    async def held(runs: list[RunRecord]) -> list[RunRecord]:
        async with stack.pool.acquire() as own, own.transaction():
            return await hold_schedules(own, runs, now)

    async with stack.pool.acquire() as other:
        found = (await attempts.load(other, jobs)).values()
        runs = [structs.replace(run, lease_until=now + timedelta(minutes=1)) for run in found]
        async with other.transaction():
            assert await hold_schedules(other, runs[:1], now) == runs[:1]
            holding = asyncio.create_task(held(runs))
            await eventually(lambda: waits_for_a_lock(stack.pool))
        assert await holding == runs[1:]


async def test_an_occurrence_that_was_planned_before_holds_nothing(stack: Stack) -> None:
    first = batch(stack)
    (job,) = await planned(stack, first)
    await stack.executor.execute(next(iter(first.attempts.values())))
    await stack.pool.execute("UPDATE ext_scheduler.timers SET due_at = $1", SLOT)
    again = batch(stack)
    async with stack.pool.acquire() as connection:
        await plan_due(connection, stack.clock.now, PlannerSettings(), SlotCache(), again)
    assert again.attempts == {}
    assert await stack.pool.fetchval("SELECT count(*) FROM ext_scheduler.active_runs") == 0
    assert (await stack.run(job))["attempts"] == 1


async def test_a_worker_that_dies_before_the_call_is_succeeded_after_the_lease(
    stack: Stack,
) -> None:
    (job,) = await planned(stack, batch(stack))
    second = stack.another(worker="worker-2")
    wait = await second.execute(job)
    assert wait is not None
    assert wait >= stack.settings.lease
    assert stack.runner.calls == []
    stack.clock.forward(wait.total_seconds())
    assert await second.execute(job) is None
    run = await stack.run(job)
    assert (run["status"], run["attempts"], run["fence"]) == ("success", 2, 2)
    assert [call.key for call in stack.runner.calls] == [str(job.run_id)]


async def test_an_attempt_that_comes_too_late_is_handed_back_uncounted(stack: Stack) -> None:
    claims = batch(stack)
    (job,) = await planned(stack, claims)
    (attempt,) = claims.attempts.values()
    late = structs.replace(attempt, claimed_at_s=attempt.claimed_at_s - 2 * AHEAD_S)
    assert await stack.executor.execute(late) == timedelta(0)
    run = await stack.run(job)
    assert (run["status"], run["attempts"]) == ("queued", 0)
    assert stack.runner.calls == []
    assert await stack.another().execute(job) is None
    assert (await stack.run(job))["status"] == "success"


async def test_a_claimed_attempt_is_handed_back_while_stopping(stack: Stack) -> None:
    claims = batch(stack)
    (job,) = await planned(stack, claims)
    stack.executor.stopping = True
    assert await stack.executor.execute(next(iter(claims.attempts.values()))) == timedelta(0)
    run = await stack.run(job)
    assert (run["status"], run["attempts"], run["retry_at"]) == ("queued", 0, None)
    assert await stack.pool.fetchval("SELECT count(*) FROM ext_scheduler.active_runs") == 0
    assert await left_jobs(stack) == 1
    assert stack.runner.calls == []


async def test_planning_that_took_too_long_for_a_call_claims_nothing(stack: Stack) -> None:
    claims = batch(stack)
    claims.began_at_s -= 2 * AHEAD_S
    (job,) = await planned(stack, claims)
    assert claims.attempts == {}
    run = await stack.run(job)
    assert (run["status"], run["attempts"], run["fence"]) == ("queued", 0, 0)
    assert await stack.pool.fetchval("SELECT count(*) FROM ext_scheduler.active_runs") == 0
    assert await stack.another().execute(job) is None
    assert (await stack.run(job))["status"] == "success"


@pytest.fixture
async def proxy(database: str) -> AsyncIterator[FaultyProxy]:
    async with faulty_proxy(database) as proxy:
        yield proxy


async def test_what_an_unanswered_commit_claimed_is_called_once_by_the_same_worker(
    stack: Stack, proxy: FaultyProxy, pool: asyncpg.Pool
) -> None:
    # A heartbeat is old only after an hour: nobody else would take the job.
    settings = WorkerSettings(
        planner=NEVER_LATE,
        firing=FiringSettings(worker="worker-1"),
        heartbeat_s=3600.0,
        dequeue_timeout_s=0.2,
    )

    async def ended() -> list[Any]:
        return await pool.fetch("SELECT * FROM ext_scheduler.runs WHERE status = 'success'")

    async def lost() -> bool:
        return proxy.answers_lost > 0 and await pool.fetchval(
            "SELECT EXISTS (SELECT FROM ext_scheduler.runs)"
        )

    stopping = asyncio.Event()
    async with pool_of(proxy.dsn, min_size=1, max_size=8) as own:
        client = RunnerClient(stack.client, lambda: WORKER_KEY)
        worker = Worker(own, client, Metrics(), settings)
        running = asyncio.create_task(worker.run(stopping))
        await eventually(lambda: pool.fetchval("SELECT EXISTS (SELECT FROM ext_scheduler.workers)"))
        proxy.disturb(Disturbance.LOST_COMMITS)
        await due_now(pool, stack)
        await eventually(lost)
        proxy.disturb(Disturbance.NONE)
        await eventually(ended)
        stopping.set()
        await running
    assert len({call.key for call in stack.runner.calls}) == 1


async def test_what_an_unanswered_commit_claimed_is_handed_back_without_a_permit(
    stack: Stack,
) -> None:
    executor = stack.another(in_flight=1, permit_timeout_s=0.1)
    consumer = JobConsumer(stack.pool, executor.execute, JobConsumerSettings(poll_s=0.1))
    direct = DirectClaims(consumer, executor, stack.settings)

    async def planned_unanswered() -> None:
        with direct.batch() as claims:
            jobs.extend(await planned(stack, claims))
            raise ConnectionResetError

    async def handed_back() -> bool:
        run = await stack.run(jobs[0])
        return (run["status"], run["attempts"], run["lease_until"]) == ("queued", 0, None)

    async def succeeded() -> bool:
        run = await stack.run(jobs[0])
        return (run["status"], run["attempts"]) == ("success", 1)

    jobs: list[JobPayload] = []
    with pytest.raises(ConnectionResetError):
        await planned_unanswered()
    assert executor.limiter.try_acquire("another tenant")
    running = asyncio.create_task(consumer.run())
    await eventually(handed_back)
    executor.limiter.release("another tenant", 0.0)
    await eventually(succeeded)
    consumer.stop()
    await running
    assert len(stack.runner.calls) == 1


def claiming(stack: Stack, in_flight: int, capacity: int = 900) -> tuple[DirectClaims, RunExecutor]:
    """Return the claims and the executor of a worker that takes nothing from the queue."""
    executor = stack.another(in_flight=in_flight)
    consumer = JobConsumer(stack.pool, executor.execute, JobConsumerSettings(capacity=capacity))
    return DirectClaims(consumer, executor, stack.settings), executor


async def test_what_was_claimed_is_called_once_it_is_committed(stack: Stack) -> None:
    direct, executor = claiming(stack, in_flight=5)
    with direct.batch() as claims:
        (job,) = await planned(stack, claims)
        assert (executor.room, len(claims.attempts)) == (4, 1)
    await eventually(lambda: executor.room == 5)
    await eventually(lambda: ended(stack, job))
    assert (len(stack.runner.calls), await left_jobs(stack)) == (1, 0)


async def ended(stack: Stack, job: JobPayload) -> bool:
    run = await stack.run(job)
    return (run["status"], run["attempts"]) == ("success", 1)


async def test_room_is_what_both_permits_and_jobs_leave(stack: Stack) -> None:
    assert claiming(stack, in_flight=3)[0].room == 3
    assert claiming(stack, in_flight=3, capacity=2)[0].room == 2


async def test_a_planner_waits_for_room_but_not_for_long(stack: Stack) -> None:
    direct, executor = claiming(stack, in_flight=1)
    async with asyncio.timeout(0):  # there is room: it does not wait at all
        await direct.wait_for_room(1)
    assert executor.limiter.try_acquire("tenant-1")
    async with asyncio.timeout(12):
        await direct.wait_for_room(1)
    assert direct.room == 0
    asyncio.get_running_loop().call_soon(executor.limiter.release, "tenant-1", 0.0)
    await direct.wait_for_room(1)
    assert direct.room == 1


async def test_a_permit_that_no_call_used_says_nothing_of_how_long_calls_take(
    stack: Stack,
) -> None:
    direct, executor = claiming(stack, in_flight=5)
    assert executor.limiter.try_acquire(stack.made.tenant_id)

    async def planned_unanswered() -> None:
        with direct.batch() as claims:
            await planned(stack, claims)
            assert (executor.limiter.in_use, len(claims.attempts)) == (2, 1)
            raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await planned_unanswered()
    assert executor.limiter.in_use == 1
    assert executor.limiter.retry_delay(stack.made.tenant_id) == pytest.approx(1.0, abs=0.01)


async def due_now(pool: asyncpg.Pool, stack: Stack) -> UUID:
    async with pool.acquire() as connection:
        now = await connection.fetchval("SELECT date_trunc('minute', now())")
        return await schedule_rows.schedule(connection, stack.made, cron="0 0 1 1 *", due_at=now)


async def test_planning_without_claims_leaves_everything_to_the_queue(stack: Stack) -> None:
    job = await stack.planned()
    run = await stack.run(job)
    assert (run["status"], run["attempts"], run["fence"], run["worker"]) == ("queued", 0, 0, None)
    assert run["lease_until"] is run["started_at"] is None
    assert job.run_id == occurrences.occurrence_id(job.schedule_id, SLOT, "scheduled")

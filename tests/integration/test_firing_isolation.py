"""One run's answer, row or size never decides about the runs that share its statements."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest

from service.rules.planning import SlotCache
from service.storage.engine.acquire import index_only_transaction
from service.storage.runs import queue
from service.storage.runs.queue import JobPayload
from service.worker.job_consumer import JobConsumer, JobConsumerSettings
from service.worker.outbox_publisher import OutboxPublisher
from service.worker.planner import Planner, PlannerSettings, PlanSummary, plan_due
from tests.support import schedule_rows
from tests.support.eventually import eventually
from tests.support.firing_stack import SLOT, Stack, firing_stack
from tests.support.platform import TICK, install
from tests.support.runner_double import ReceivedCall, answering

REFUSE = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE check_violation USING MESSAGE = 'poison'; END $$
"""
POISON = "poisoned"


@pytest.fixture
async def stack(pool: asyncpg.Pool, nats_url: str) -> AsyncIterator[Stack]:
    async with firing_stack(pool, nats_url) as stack:
        yield stack


async def refuse(pool: asyncpg.Pool, event: str, table: str, condition: str) -> None:
    """Let the database refuse what is done to rows of a table that fulfil a condition."""
    await pool.execute(REFUSE)
    await pool.execute(
        f"CREATE TRIGGER refuse BEFORE {event} ON ext_scheduler.{table} FOR EACH ROW"
        f" WHEN ({condition}) EXECUTE FUNCTION refuse()"
    )


async def execute_with_poison(stack: Stack) -> tuple[list[asyncpg.Record], asyncpg.Record, object]:
    """Execute five runs and one of a poisoned tenant at once; return runs and the one's result."""
    async with stack.pool.acquire() as connection:
        poisoned = await install(connection, tenant_id=POISON, materialised=TICK)
    jobs = [await stack.planned() for _ in range(5)]
    jobs.insert(2, await stack.planned(poisoned))
    results = await asyncio.gather(
        *(stack.executor.execute(job) for job in jobs), return_exceptions=True
    )
    runs = [await stack.run(job) for job in jobs]
    return runs[:2] + runs[3:], runs[2], results[2]


@pytest.mark.parametrize(
    "status",
    ["0", "-1", "99", "100", "199", "600", "4294967296", "1e400", "true", "200.0", '"200"'],
)
async def test_status_that_is_none_fails_that_attempt_alone(stack: Stack, status: str) -> None:
    async def answer(call: ReceivedCall) -> bytes:
        poisoned = call.request["context"]["tenant_id"] == POISON
        return b'{"status":%s}' % (status.encode() if poisoned else b"200")

    stack.runner.script = answer
    others, run, result = await execute_with_poison(stack)
    assert {other["status"] for other in others} == {"success"}
    assert (run["status"], run["attempts"]) == ("queued", 1)
    assert isinstance(result, timedelta)


async def test_claim_that_the_database_refuses_fails_alone(stack: Stack) -> None:
    await refuse(stack.pool, "UPDATE", "runs_default", f"NEW.tenant_id = '{POISON}'")
    others, run, result = await execute_with_poison(stack)
    assert {other["status"] for other in others} == {"success"}
    assert run["status"] == "queued"
    assert isinstance(result, asyncpg.CheckViolationError)
    assert len(stack.runner.calls) == 5


async def test_result_that_the_database_refuses_ends_that_run_as_error(stack: Stack) -> None:
    await refuse(stack.pool, "INSERT", "outbox", f"NEW.tenant_id = '{POISON}'")
    others, run, result = await execute_with_poison(stack)
    assert {other["status"] for other in others} == {"success"}
    assert (run["status"], run["error"]) == (
        "error",
        "The result of the call could not be recorded",
    )
    assert result is None


async def plan_with_poison(stack: Stack) -> tuple[PlanSummary, UUID, Planner]:
    """Plan three due timers and one of a poisoned tenant."""
    async with stack.pool.acquire() as connection:
        poisoned = await install(connection, tenant_id=POISON, materialised=TICK)
        id_ = await schedule_rows.schedule(connection, poisoned, due_at=SLOT)
        for _ in range(3):
            await schedule_rows.schedule(connection, stack.made, due_at=SLOT)
        summary = await plan_due(connection, stack.clock.now, PlannerSettings(), SlotCache())
    return summary, id_, Planner(stack.pool, stack.metrics, now=stack.clock)


async def test_slot_that_the_database_refuses_is_missed_alone(stack: Stack) -> None:
    await refuse(stack.pool, "INSERT", "runs_default", f"NEW.tenant_id = '{POISON}'")
    summary, id_, _ = await plan_with_poison(stack)
    assert (summary.timers, summary.occurrences, summary.missed) == (4, 3, 1)
    timer = await stack.pool.fetchrow(
        "SELECT due_at, missed FROM ext_scheduler.timers WHERE schedule_id = $1", id_
    )
    assert timer is not None
    assert timer["due_at"] > stack.clock.now
    assert timer["missed"] == 1


async def test_timer_that_the_database_refuses_to_move_is_tried_at_leisure(stack: Stack) -> None:
    await refuse(stack.pool, "UPDATE", "timers", f"NEW.tenant_id = '{POISON}'")
    summary, _, planner = await plan_with_poison(stack)
    assert (summary.occurrences, summary.refused) == (3, 1)
    assert await planner.plan_once() == PlannerSettings().poll


async def test_job_that_the_database_refuses_to_claim_fails_alone(stack: Stack) -> None:
    jobs = [await stack.planned() for _ in range(3)]
    ids = [row[0] for row in await stack.pool.fetch("SELECT id FROM ext_scheduler.pgqueuer")]
    await refuse(stack.pool, "UPDATE", "pgqueuer", f"NEW.id = {ids[1]}")
    seen: list[UUID] = []

    async def handle(job: JobPayload) -> None:
        seen.append(job.run_id)

    settings = JobConsumerSettings(poll_s=0.1)
    consumer = JobConsumer(stack.pool, handle, settings)
    consuming = asyncio.create_task(consumer.run())
    await eventually(lambda: len(seen) == 2)
    consumer.stop()
    await consuming
    assert {job.run_id for job in jobs} > set(seen)


async def test_event_that_the_database_refuses_to_remove_stays_alone(stack: Stack) -> None:
    for tenant in ("tenant-1", POISON, "tenant-b"):
        await stack.pool.execute(
            "INSERT INTO ext_scheduler.outbox (tenant_id, install_id, type, at, data)"
            " VALUES ($1, gen_random_uuid(), 'run.failed', now(), '{}')",
            tenant,
        )
    await refuse(stack.pool, "DELETE", "outbox", f"OLD.tenant_id = '{POISON}'")
    publisher = OutboxPublisher(stack.pool, stack.client)
    assert await publisher.publish_batch() == 3
    left = await stack.pool.fetch("SELECT tenant_id FROM ext_scheduler.outbox")
    assert [row["tenant_id"] for row in left] == [POISON]
    sent = stack.client.stats["out_msgs"]
    await publisher.publish_batch()
    assert stack.client.stats["out_msgs"] == sent


async def test_error_text_of_any_kind_is_recorded(stack: Stack) -> None:
    stack.runner.script = answering(
        b'{"status":500,"error":"a\\u0000b\\ud83d\\ude00' + b"x" * 9000 + b'"}'
    )
    job = await stack.planned(cron="0 0 1 1 *")
    await stack.executor.execute(job)
    run = await stack.run(job)
    assert run["error"].startswith("ab\U0001f600x")
    assert len(run["error"]) == 4000


async def test_request_larger_than_the_server_takes_is_final(stack: Stack) -> None:
    await stack.pool.execute(
        "UPDATE tenant_extension_install SET config = jsonb_build_object('k', repeat('x', $1))",
        stack.client.max_payload,
    )
    job = await stack.planned()
    assert await stack.executor.execute(job) is None
    run = await stack.run(job)
    assert (run["status"], run["attempts"], run["http_status"]) == ("error", 1, None)
    assert "is larger than the server's limit of" in run["error"]
    assert str(stack.client.max_payload) in run["error"]
    assert stack.runner.calls == []


@asynccontextmanager
async def locked(pool: asyncpg.Pool, table: str) -> AsyncIterator[None]:
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(f"LOCK TABLE ext_scheduler.{table} IN EXCLUSIVE MODE")
        yield


CLAIM_MAY_TAKE = "service.worker.firing.attempt_store.TIMEOUT_STEP_S"


async def test_claim_that_waited_too_long_is_undone_and_not_counted(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CLAIM_MAY_TAKE, 0.05)
    job = await stack.planned()
    async with locked(stack.pool, "runs"):
        late = asyncio.create_task(stack.executor.execute(job))
        await eventually(lambda: waits_for_lock(stack.pool))
    assert await late == timedelta(0)
    run = await stack.run(job)
    assert (run["status"], run["attempts"], run["started_at"]) == ("queued", 0, None)
    assert run["fence"] == 0
    assert (run["lease_until"], run["retry_at"], run["finished_at"]) == (None, None, None)
    assert stack.runner.calls == []
    assert await stack.pool.fetchval("SELECT count(*) FROM ext_scheduler.active_runs") == 0
    monkeypatch.undo()
    assert await stack.executor.execute(job) is None
    run = await stack.run(job)
    assert (run["status"], run["attempts"]) == ("success", 1)


async def test_claim_that_came_too_late_overlaps_no_other_run(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CLAIM_MAY_TAKE, 0.05)
    first = await stack.planned()
    second = await stack.manual(first.schedule_id)
    executors = stack.executor, stack.another(worker="worker-2")
    async with locked(stack.pool, "runs"):
        tasks = [asyncio.create_task(executors[0].execute(first))]
        await eventually(lambda: waits_for_lock(stack.pool))
        tasks.append(asyncio.create_task(executors[1].execute(second)))
        await eventually(lambda: waits_for_lock(stack.pool, 2))
    assert await asyncio.gather(*tasks) == [timedelta(0)] * 2
    monkeypatch.undo()
    for job in (second, first):
        assert await stack.executor.execute(job) is None
        assert (await stack.run(job))["status"] == "success"


@pytest.mark.parametrize("statuses", [(200, 200), (503, 200), (200, 503)])
async def test_claims_and_results_of_the_same_schedules_do_not_deadlock(
    stack: Stack, statuses: tuple[int, int], caplog: pytest.LogCaptureFixture
) -> None:
    first, second = sorted(
        [await stack.planned(), await stack.planned()], key=lambda job: job.schedule_id
    )
    manual = [await stack.manual(job.schedule_id) for job in (first, second)]
    answered = {str(first.run_id): asyncio.Event(), str(second.run_id): asyncio.Event()}
    status, arrived = dict(zip(answered, statuses, strict=True)), list[str]()
    another = stack.another(worker="worker-2")

    async def answer(call: ReceivedCall) -> bytes:
        arrived.append(call.key)
        await answered[call.key].wait()
        return b'{"status":%d}' % status[call.key]

    stack.runner.script = answer
    calling = [asyncio.create_task(stack.executor.execute(job)) for job in (first, second)]
    await eventually(lambda: len(arrived) == 2)
    async with stack.pool.acquire() as connection, connection.transaction():
        await connection.execute(
            "SELECT FROM ext_scheduler.active_runs WHERE schedule_id = $1 FOR UPDATE",
            first.schedule_id,
        )
        claiming = [asyncio.create_task(another.execute(job)) for job in manual]
        await eventually(lambda: waits_for_lock(stack.pool))
        for event in reversed(answered.values()):
            event.set()
        await eventually(lambda: waits_for_lock(stack.pool, 2))
    await asyncio.gather(*calling, *claiming)
    assert [line.message for line in caplog.records if line.levelname != "INFO"] == []


async def waits_for_lock(pool: asyncpg.Pool, sessions: int = 1) -> bool:
    return await pool.fetchval(  # type: ignore[no-any-return]  # a boolean
        "SELECT count(*) >= $1 FROM pg_stat_activity WHERE datname = current_database()"
        " AND wait_event_type = 'Lock' AND state_change < now() - interval '100 ms'",
        sessions,
    )


async def test_failing_rollback_does_not_hide_its_cause(connection: asyncpg.Connection) -> None:
    async def fail_while_busy() -> None:
        async with index_only_transaction(connection):
            reading = asyncio.create_task(connection.fetchval("SELECT pg_sleep(60)"))
            reading.add_done_callback(asyncio.Task.exception)
            await asyncio.sleep(0)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        await fail_while_busy()
    assert "ROLLBACK failed" in caught.value.__notes__[0]
    assert connection.is_closed()


async def test_jobs_that_are_claimed_singly_are_the_most_urgent_ones(stack: Stack) -> None:
    jobs = [await stack.planned() for _ in range(4)]
    urgent = [jobs[2].run_id, jobs[0].run_id]
    for priority, run_id in enumerate(reversed(urgent), start=1):
        await stack.pool.execute(
            "UPDATE ext_scheduler.pgqueuer SET priority = $1"
            " WHERE convert_from(payload, 'UTF8')::jsonb ->> 'run_id' = $2",
            priority,
            str(run_id),
        )
    async with stack.pool.acquire() as connection:
        claimed, refused = await queue.claim_singly(connection, uuid4(), 2, timedelta(minutes=1))
    assert [queue.read_payload(job.payload).run_id for job in claimed] == urgent
    assert refused == {}

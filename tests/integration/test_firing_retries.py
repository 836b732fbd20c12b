"""Failed attempts: which are made again, when, and how they end."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import pytest
from msgspec import structs

from service.rules.planning import SlotCache
from service.worker.firing import ClaimedAttempt
from service.worker.firing.attempt_store import AttemptStore
from service.worker.planner import PlannerSettings, plan_due
from tests.support.firing_stack import CLAIM_MAY_TAKE_S, SLOT, Stack, firing_stack
from tests.support.runner_double import ReceivedCall, answering, status


@pytest.fixture
async def stack(pool: asyncpg.Pool, nats_url: str) -> AsyncIterator[Stack]:
    async with firing_stack(pool, nats_url) as stack:
        yield stack


FAILURES: list[tuple[Any, int | None, str]] = [
    (status(500), 500, "status 500"),
    (status(408), 408, "status 408"),
    (status(425), 425, "status 425"),
    (status(429), 429, "status 429"),
    (status(200, "guest trapped"), 200, "guest trapped"),
    (answering(b""), None, "empty"),
    (answering(b"<html>"), None, "cannot be read"),
    (answering(b'{"headers": {}}'), None, "cannot be read"),
    (answering(b'{"status":200,"body_b64":"' + b"A" * 262_144 + b'"}'), None, "larger"),
]


@pytest.mark.parametrize(("script", "http_status", "words"), FAILURES)
async def test_failed_attempt_waits_for_a_retry(
    stack: Stack, script: Any, http_status: int | None, words: str
) -> None:
    job = await stack.planned()
    stack.runner.script = script
    delay = await stack.executor.execute(job)
    assert delay == timedelta(seconds=5)
    run = await stack.run(job)
    assert (run["status"], run["attempts"], run["http_status"]) == ("queued", 1, http_status)
    assert words in run["error"]
    assert run["finished_at"] is None
    assert (await stack.schedule(job))["last_run_status"] is None
    assert await stack.events() == []


@pytest.mark.parametrize("code", [400, 401, 403, 404, 410, 422])
async def test_refusal_by_the_extension_is_final(stack: Stack, code: int) -> None:
    job = await stack.planned()
    stack.runner.script = status(code)
    assert await stack.executor.execute(job) is None
    run = await stack.run(job)
    assert (run["status"], run["attempts"], run["http_status"]) == ("error", 1, code)
    assert (await stack.schedule(job))["last_run_status"] == "error"
    assert await stack.events() == ["run.failed"]


async def test_missing_runner_is_reported_at_once(stack: Stack) -> None:
    await stack.close_runner()
    job = await stack.planned()
    assert await stack.executor.execute(job) == timedelta(seconds=5)
    assert (await stack.run(job))["error"] == "No Runner is listening"


async def test_silence_ends_with_the_timeout(stack: Stack) -> None:
    async def silence(_: ReceivedCall) -> None:
        return None

    stack.runner.script = silence
    job = await stack.planned()
    hasty = stack.another(runner_timeout_s=-5.9)
    assert await hasty.execute(job) == timedelta(seconds=5)
    assert "within 0.1 s" in (await stack.run(job))["error"]


async def test_attempts_share_a_key_and_end_after_the_last_retry(stack: Stack) -> None:
    stack.runner.script = status(503)
    job = await stack.planned(cron="0 12 * * *")
    delays = []
    while (delay := await stack.executor.execute(job)) is not None:
        delays.append(delay.total_seconds())
        stack.clock.forward(delay.total_seconds())
    assert delays == [5, 20, 80]
    assert [call.request["context"]["attempt"] for call in stack.runner.calls] == [1, 2, 3, 4]
    assert {call.key for call in stack.runner.calls} == {str(job.run_id)}
    assert len({call.request["context"]["request_id"] for call in stack.runner.calls}) == 4
    run = await stack.run(job)
    assert (run["status"], run["attempts"]) == ("error", 4)
    row = await stack.schedule(job)
    assert row["last_run_at"] == stack.clock.now, "the start of the last attempt"
    assert await stack.events() == ["run.failed"]
    assert stack.total("extension_scheduler_retries_total") == 3


async def test_retry_that_would_come_after_the_next_slot_is_not_made(stack: Stack) -> None:
    stack.runner.script = status(503)
    job = await stack.planned()
    stack.clock.now = SLOT + timedelta(minutes=4, seconds=56)
    assert await stack.executor.execute(job) is None
    assert (await stack.run(job))["status"] == "error"


async def test_retry_that_comes_too_late_is_not_made(stack: Stack) -> None:
    stack.runner.script = status(503)
    job = await stack.planned()
    assert await stack.executor.execute(job) == timedelta(seconds=5)
    stack.clock.now = SLOT + timedelta(minutes=5, seconds=1)
    assert await stack.executor.execute(job) is None
    run = await stack.run(job)
    assert (run["status"], run["attempts"], run["http_status"]) == ("error", 1, 503)
    assert "503" in run["error"]
    assert len(stack.runner.calls) == 1


async def test_job_claimed_before_its_retry_is_due_is_released(stack: Stack) -> None:
    stack.runner.script = status(503)
    job = await stack.planned()
    await stack.executor.execute(job)
    stack.clock.forward(2)
    assert await stack.executor.execute(job) == timedelta(seconds=3)
    assert len(stack.runner.calls) == 1


async def held_until(stack: Stack) -> list[datetime]:
    rows = await stack.pool.fetch("SELECT held_until FROM ext_scheduler.active_runs")
    return [row["held_until"] for row in rows]


async def test_a_retry_that_came_too_late_to_call_keeps_its_turn_and_does_not_count(
    stack: Stack,
) -> None:
    stack.runner.script = status(503, "busy")
    job = await stack.planned(cron="0 12 * * *")
    assert await stack.executor.execute(job) == timedelta(seconds=5)
    first = await stack.run(job)
    assert await held_until(stack) == [first["retry_at"] + stack.settings.lease]
    stack.clock.forward(5)
    (attempt,) = await AttemptStore(stack.pool, stack.settings, stack.clock).claim([job])
    assert isinstance(attempt, ClaimedAttempt)
    late = structs.replace(attempt, claimed_at_s=attempt.claimed_at_s - 2 * CLAIM_MAY_TAKE_S)
    assert stack.executor.limiter.try_acquire(late.run.tenant_id)
    assert await stack.executor.execute(late) == timedelta(0)
    run = await stack.run(job)
    assert (run["status"], run["attempts"], run["retry_at"]) == ("queued", 1, stack.clock.now)
    assert (run["http_status"], run["error"]) == (503, "busy")
    assert await held_until(stack) == [stack.clock.now + stack.settings.lease]
    manual = await stack.manual(job.schedule_id)
    assert await stack.executor.execute(manual) is None
    assert (await stack.run(manual))["status"] == "skipped_overlap"
    stack.runner.script = answering(b'{"status":200}')
    assert await stack.executor.execute(job) is None
    run = await stack.run(job)
    assert (run["status"], run["attempts"], len(stack.runner.calls)) == ("success", 2, 2)


async def retime(stack: Stack, cron: str, due_at: datetime) -> None:
    """Change the cron of every schedule, as an update does, and with it the timer."""
    await stack.pool.execute("UPDATE tenant_extension_schedule SET cron = $1", cron)
    await stack.pool.execute("UPDATE ext_scheduler.timers SET cron = $1, due_at = $2", cron, due_at)


async def plan(stack: Stack) -> None:
    """Let a planner do what is due."""
    async with stack.pool.acquire() as connection:
        await plan_due(connection, stack.clock.now, PlannerSettings(), SlotCache())


@pytest.mark.parametrize("planned", [False, True])
async def test_retry_is_not_made_after_the_next_slot_of_a_changed_cron(
    stack: Stack, planned: bool
) -> None:
    stack.runner.script = status(503)
    job = await stack.planned(cron="0 12 * * *")
    stack.clock.forward(56)
    assert await stack.executor.execute(job) == timedelta(seconds=5)
    await retime(stack, "1 12 * * *", SLOT + timedelta(minutes=1))
    stack.clock.forward(5)
    if planned:
        await plan(stack)
    assert await stack.executor.execute(job) is None
    run = await stack.run(job)
    assert (run["status"], run["attempts"], run["http_status"]) == ("error", 1, 503)
    assert len(stack.runner.calls) == 1


async def test_retry_is_not_planned_beyond_the_next_slot_of_a_changed_cron(stack: Stack) -> None:
    async def changing(_: ReceivedCall) -> bytes:
        await retime(stack, "1 12 * * *", SLOT + timedelta(minutes=1))
        return b'{"status":503}'

    stack.runner.script = changing
    job = await stack.planned(cron="0 12 * * *")
    stack.clock.forward(57)
    assert await stack.executor.execute(job) is None
    assert (await stack.run(job))["status"] == "error"


async def test_retry_is_made_after_a_slot_that_a_changed_cron_removed(stack: Stack) -> None:
    stack.runner.script = status(503)
    job = await stack.planned()
    stack.clock.now = SLOT + timedelta(minutes=4, seconds=50)
    assert await stack.executor.execute(job) == timedelta(seconds=5)
    await retime(stack, "0 13 * * *", SLOT + timedelta(hours=1))
    stack.clock.forward(11)
    assert await stack.executor.execute(job) == timedelta(seconds=20)
    assert len(stack.runner.calls) == 2


async def test_retry_is_not_made_after_the_next_slot_has_been_planned(stack: Stack) -> None:
    stack.runner.script = status(503)
    job = await stack.planned()
    await stack.executor.execute(job)
    stack.clock.now = SLOT + timedelta(minutes=5, seconds=1)
    await plan(stack)
    assert await stack.executor.execute(job) is None
    assert len(stack.runner.calls) == 1


async def test_retry_is_not_made_after_a_slot_skipped_by_a_pause(stack: Stack) -> None:
    stack.runner.script = status(503)
    job = await stack.planned()
    stack.clock.now = SLOT + timedelta(minutes=4, seconds=50)
    assert await stack.executor.execute(job) == timedelta(seconds=5)
    pause = "INSERT INTO ext_scheduler.tenant_pauses VALUES ($1, now(), 'ops')"
    await stack.pool.execute(pause, job.tenant_id)
    stack.clock.forward(11)
    await plan(stack)
    await stack.pool.execute("DELETE FROM ext_scheduler.tenant_pauses")
    assert await stack.executor.execute(job) is None
    assert (await stack.run(job))["status"] == "error"
    assert len(stack.runner.calls) == 1

"""One run in full: each of its attempts, those of lost workers included."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from service.storage.records import expiry
from tests.support.admin import Admin, operator
from tests.support.eventually import eventually
from tests.support.firing_stack import Stack, firing_stack
from tests.support.host import dispatcher
from tests.support.runner_double import ReceivedCall, status


@pytest.fixture
async def stack(pool: asyncpg.Pool, nats_url: str) -> AsyncIterator[Stack]:
    async with firing_stack(pool, nats_url) as stack:
        yield stack


async def detail(stack: Stack, run_id: Any) -> dict[str, Any]:
    everyone = operator(dispatcher(stack.pool))
    owner = Admin(everyone.dispatcher, tenant_id=stack.made.tenant_id)
    found = await owner("getRun", runId=str(run_id))
    assert await everyone("getRun", runId=str(run_id)) == found
    return found


async def test_failed_attempts_are_kept_with_their_worker_and_error(stack: Stack) -> None:
    job = await stack.planned()
    for number, code in enumerate((503, 500)):
        stack.runner.script = status(code)
        delay = await stack.another(worker=f"worker-{number}").execute(job)
        assert delay is not None
        stack.clock.forward(delay.total_seconds())
    waiting = await detail(stack, job.run_id)
    assert waiting["run"]["status"] == "queued"
    assert waiting["retryAt"] is not None
    assert len(waiting["attempts"]) == 2
    stack.runner.script = status(200)
    assert await stack.another(worker="worker-2").execute(job) is None
    ended = await detail(stack, job.run_id)
    assert (ended["run"]["status"], ended["retryAt"]) == ("success", None)
    calls = [received.request["context"]["request_id"] for received in stack.runner.calls]
    assert len(set(calls)) == 3
    assert (waiting["requestId"], ended["requestId"]) == (calls[1], calls[2])
    shown = [
        (row["attempt"], row["worker"], row["status"], row["httpStatus"])
        for row in ended["attempts"]
    ]
    assert shown == [
        (1, "worker-0", "error", 503),
        (2, "worker-1", "error", 500),
        (3, "worker-2", "success", 200),
    ]
    assert all(row["startedAt"] <= row["finishedAt"] for row in ended["attempts"])
    assert "status 503" in ended["attempts"][0]["error"]


async def test_run_without_retry_keeps_no_row_of_its_attempt(stack: Stack) -> None:
    job = await stack.planned()
    before = await detail(stack, job.run_id)
    assert (before["run"]["status"], before["attempts"]) == ("queued", [])
    assert await stack.executor.execute(job) is None
    (attempt,) = (await detail(stack, job.run_id))["attempts"]
    assert (attempt["status"], attempt["worker"]) == ("success", "worker-1")
    assert await stack.pool.fetchval("SELECT count(*) FROM ext_scheduler.run_attempts") == 0


async def test_attempt_of_a_lost_worker_has_no_end(stack: Stack) -> None:
    job = await stack.planned()
    never = asyncio.Event()

    async def silence(_: ReceivedCall) -> None:
        await never.wait()

    stack.runner.script = silence
    dying = asyncio.create_task(stack.another(worker="dying").execute(job))
    await eventually(lambda: stack.runner.calls)
    running = await detail(stack, job.run_id)
    assert [row["status"] for row in running["attempts"]] == ["running"]
    assert running["leaseUntil"] is not None
    dying.cancel()
    await asyncio.gather(dying, return_exceptions=True)
    stack.clock.forward(60)
    stack.runner.script = status(200)
    assert await stack.executor.execute(job) is None
    lost, last = (await detail(stack, job.run_id))["attempts"]
    assert (lost["attempt"], lost["worker"], lost["error"]) == (1, "dying", "worker lost")
    assert (lost["finishedAt"], lost["status"]) == (None, "error")
    assert (last["attempt"], last["worker"], last["status"]) == (2, "worker-1", "success")


async def test_attempts_leave_with_their_runs(stack: Stack) -> None:
    job = await stack.planned()
    stack.runner.script = status(503)
    await stack.executor.execute(job)
    count = "SELECT count(*) FROM ext_scheduler.run_attempts"
    assert await stack.pool.fetchval(count) == 1
    async with stack.pool.acquire() as connection:
        statement, age = expiry.rules(expiry.Retention())["run_attempts"]
        later = stack.clock.now + age
        assert await expiry.remove_old(connection, statement, later - age, 10) == 1
    retried = await stack.planned()
    await stack.executor.execute(retried)
    assert await stack.pool.fetchval(count) == 1
    owner = Admin(dispatcher(stack.pool), tenant_id=stack.made.tenant_id)
    assert (await owner("uninstall", installId=str(stack.made.install_id)))["success"]
    assert await stack.pool.fetchval(count) == 0


async def test_unknown_run_is_not_found(stack: Stack) -> None:
    everyone = operator(dispatcher(stack.pool))
    answer = await everyone("getRun", runId="00000000-0000-4000-8000-000000000000")
    assert (answer["code"], answer["error"]) == ("NOT_FOUND", "Run not found")

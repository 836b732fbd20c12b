"""A database that commits what an attempt writes, and whose answer is lost."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest

from service.storage.runs.queue import JobDelay, JobPayload
from tests.support.eventually import eventually
from tests.support.faulty_proxy import Disturbance, FaultyProxy, faulty_proxy
from tests.support.firing_stack import Stack, firing_stack
from tests.support.runner_double import ReceivedCall, Response, Script, answering, status


@pytest.fixture
async def proxy(database: str) -> AsyncIterator[FaultyProxy]:
    async with faulty_proxy(database) as proxy:
        yield proxy


@pytest.fixture
async def stack(proxy: FaultyProxy, nats_url: str) -> AsyncIterator[Stack]:
    async with (
        asyncpg.create_pool(proxy.dsn, min_size=1, max_size=4) as pool,
        firing_stack(pool, nats_url) as stack,
    ):
        yield stack


async def executed(stack: Stack, proxy: FaultyProxy, job: JobPayload, answer: Script) -> JobDelay:
    """Execute a job; the answers to COMMIT are lost from its call on, until one was."""

    async def disturbed(call: ReceivedCall) -> Response:
        proxy.disturb(Disturbance.LOST_COMMITS)
        return await answer(call)

    async def lost() -> bool:
        return proxy.answers_lost > 0

    stack.runner.script = disturbed
    execution = asyncio.create_task(stack.executor.execute(job))
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

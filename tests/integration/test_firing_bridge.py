"""A worker's retries through the bridge, to a Runner that remembers every answer by its key."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import asyncpg
import msgspec
import pytest
from aiohttp import ClientSession

from runner_bridge.executor import Executor, ExecutorSettings
from tests.support.callers import connected
from tests.support.firing_stack import Stack, firing_stack
from tests.support.keys import KEYS
from tests.support.runner_double import ReceivedCall, RunnerDouble, http_runner


@pytest.fixture
async def runner() -> AsyncIterator[RunnerDouble]:
    async with http_runner(remembers=True) as runner:
        yield runner


@pytest.fixture
async def stack(pool: asyncpg.Pool, nats_url: str, runner: RunnerDouble) -> AsyncIterator[Stack]:
    settings = ExecutorSettings(runner_url=runner.url)
    async with (
        firing_stack(pool, nats_url) as stack,
        connected(nats_url) as client,
        ClientSession() as session,
    ):
        await stack.close_runner()
        executor = Executor(client, session, lambda: KEYS, settings)
        await executor.start()
        yield stack
        await executor.stop()


def extension_answers(runner: RunnerDouble, *statuses: int) -> None:
    """Let the extension answer its calls with these statuses, one after the other."""
    left = list(statuses)

    async def answer(_: ReceivedCall) -> bytes:
        return msgspec.json.encode({"status": left.pop(0), "headers": {}})

    runner.script = answer


async def test_a_failure_then_a_success_is_a_success_after_two_calls_of_the_extension(
    stack: Stack, runner: RunnerDouble
) -> None:
    extension_answers(runner, 500, 200)
    # The bridge reads the real time in tokens; the next slot must not rule a retry out.
    stack.clock.now = datetime.now(UTC)
    job = await stack.planned(
        slot=stack.clock.now.replace(second=0, microsecond=0), cron="0 0 29 2 *"
    )
    delay = await stack.executor.execute(job)
    assert delay is not None
    stack.clock.forward(delay.total_seconds())
    assert await stack.executor.execute(job) is None
    run = await stack.run(job)
    assert (run["status"], run["attempts"], run["http_status"]) == ("success", 2, 200)
    assert len(runner.executed) == 2
    seen = [msgspec.json.decode(call.body)["http"]["headers"] for call in runner.executed]
    assert [headers["x-idempotency-key"] for headers in seen] == [str(job.run_id)] * 2
    assert [headers["x-alga-attempt"] for headers in seen] == ["1", "2"]


async def test_a_runner_answers_a_known_key_from_memory(runner: RunnerDouble) -> None:
    extension_answers(runner, 500, 200)
    async with ClientSession() as session:
        answers = []
        for key in ("a:1", "a:1", "a:2"):
            headers = {"x-idempotency-key": key}
            async with session.post(runner.url, data=b"{}", headers=headers) as response:
                answers.append((await response.json())["status"])
    assert answers == [500, 500, 200]
    assert len(runner.executed) == 2

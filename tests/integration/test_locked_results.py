"""A lock that somebody else holds delays the results it is about, and loses none."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from tests.support.eventually import eventually
from tests.support.firing_stack import Stack, firing_stack

STORE = "service.worker.firing.attempt_store"
LOCK_TIMEOUT = {"lock_timeout": "10ms"}
LOCK_SCHEDULE = "SELECT FROM tenant_extension_schedule WHERE id = $1 FOR UPDATE"


@pytest.fixture
async def stack(database: str, nats_url: str) -> AsyncIterator[Stack]:
    async with (
        asyncpg.create_pool(database, max_size=10, server_settings=LOCK_TIMEOUT) as pool,
        firing_stack(pool, nats_url) as stack,
    ):
        yield stack


async def test_a_locked_schedule_delays_no_other_result(
    stack: Stack, connection: asyncpg.Connection
) -> None:
    held, *others = [await stack.planned() for _ in range(6)]
    async with connection.transaction():
        await connection.execute(LOCK_SCHEDULE, held.schedule_id)
        executed = [asyncio.create_task(stack.executor.execute(job)) for job in [held, *others]]
        await asyncio.wait_for(asyncio.gather(*executed[1:]), 60)
        assert not executed[0].done()
        assert [(await stack.run(job))["status"] for job in others] == ["success"] * 5
        assert (await stack.run(held))["status"] == "running"
    assert await asyncio.wait_for(executed[0], 60) is None
    run = await stack.run(held)
    assert (run["status"], run["attempts"]) == ("success", 1)
    assert (await stack.schedule(held))["last_run_status"] == "success"
    assert len(stack.runner.calls) == 6


async def test_a_result_outlasts_a_table_that_is_locked_for_long(
    stack: Stack,
    connection: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(f"{STORE}.WRITE_RETRY_DELAYS_S", (0.01,) * 3)
    monkeypatch.setattr(f"{STORE}.LOCK_RETRY_DELAYS_S", (0.01,) * 10_000)
    job = await stack.planned()
    async with connection.transaction():

        async def lock(_: object) -> bytes:
            await connection.execute("LOCK TABLE ext_scheduler.runs IN EXCLUSIVE MODE")
            return b'{"status":200}'

        stack.runner.script = lock
        executing = asyncio.create_task(stack.executor.execute(job))
        await eventually(lambda: caplog.text.count("retrying result write") > 6)
        assert not executing.done()
    assert await asyncio.wait_for(executing, 60) is None
    run = await stack.run(job)
    assert (run["status"], run["attempts"], run["error"]) == ("success", 1, None)
    assert len(stack.runner.calls) == 1

"""What is known of an attempt afterwards: how long it took, how late it was, and who was told."""

import logging
from collections.abc import AsyncIterator
from datetime import timedelta
from time import monotonic
from typing import Any

import asyncpg
import pytest

from service.worker.firing import RunExecutor
from service.worker.runner_client import RunnerClient
from tests.support.firing_stack import Stack, firing_stack
from tests.support.keys import WORKER_KEY
from tests.support.runner_double import ReceivedCall, answering, status

MONOTONIC = "service.worker.firing.run_executor.monotonic"
MACHINE_MAY_TAKE_S = 60


@pytest.fixture
async def stack(pool: asyncpg.Pool, nats_url: str) -> AsyncIterator[Stack]:
    async with firing_stack(pool, nats_url) as stack:
        yield stack


def let_calls_take(stack: Stack, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let the executor's clock go on by that much while the Runner has a call."""
    ahead_s = 0.0

    async def answer(_: ReceivedCall) -> bytes:
        nonlocal ahead_s
        ahead_s += seconds
        return b'{"status":200}'

    stack.runner.script = answer
    monkeypatch.setattr(MONOTONIC, lambda: monotonic() + ahead_s)


async def test_the_duration_of_a_call_is_recorded_in_milliseconds(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_calls_take(stack, monkeypatch, 100_000)
    job = await stack.planned()
    assert await stack.executor.execute(job) is None
    duration_ms = (await stack.run(job))["duration_ms"]
    assert 100_000_000 <= duration_ms < 100_000_000 + MACHINE_MAY_TAKE_S * 1000


async def test_a_call_across_weeks_of_standstill_has_the_longest_duration_of_a_record(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_calls_take(stack, monkeypatch, timedelta(days=40).total_seconds())
    job = await stack.planned()
    assert await stack.executor.execute(job) is None
    run = await stack.run(job)
    assert (run["status"], run["duration_ms"]) == ("success", 2_147_483_647)


def lateness(stack: Stack) -> tuple[float, float]:
    """Return how many runs were counted, and the sum of their seconds."""
    name = "extension_scheduler_fire_lateness_seconds"
    return stack.total(f"{name}_count"), stack.total(f"{name}_sum")


async def test_lateness_is_that_of_the_first_attempts_of_scheduled_runs(stack: Stack) -> None:
    stack.runner.script = status(503)
    job = await stack.planned(cron="0 12 * * *")
    assert await stack.executor.execute(job) == timedelta(seconds=5)
    count, seconds = lateness(stack)
    assert count == 1
    assert 1 <= seconds < 1 + MACHINE_MAY_TAKE_S
    stack.clock.forward(5)
    stack.runner.script = answering(b'{"status":200}')
    assert await stack.executor.execute(job) is None
    assert await stack.executor.execute(await stack.manual(job.schedule_id)) is None
    assert len(stack.runner.calls) == 3
    assert lateness(stack) == (count, seconds)


async def test_each_run_that_left_an_event_is_announced(stack: Stack) -> None:
    finished = 0

    def on_finished() -> None:
        nonlocal finished
        finished += 1

    client = RunnerClient(stack.client, lambda: WORKER_KEY)
    settings = stack.settings
    executor = RunExecutor(
        stack.pool, client, stack.metrics, settings, on_finished=on_finished, now=stack.clock
    )
    assert await executor.execute(await stack.planned()) is None
    assert (finished, await stack.events()) == (1, ["run.succeeded"])
    stack.runner.script = status(503)
    assert await executor.execute(await stack.planned()) is not None
    assert (finished, await stack.events()) == (1, ["run.succeeded"])
    skipped = await stack.planned()
    await stack.pool.execute("UPDATE tenant_extension_install SET status = 'disabled'")
    assert await executor.execute(skipped) is None
    assert (await stack.run(skipped))["status"] == "skipped"
    assert (finished, await stack.events()) == (1, ["run.succeeded"])


async def logged(stack: Stack, caplog: pytest.LogCaptureFixture) -> dict[str, Any]:
    """Execute a run; return what is in its line of the log."""
    caplog.clear()
    with caplog.at_level(logging.INFO):
        await stack.executor.execute(await stack.planned())
    (line,) = [record for record in caplog.records if record.message == "run"]
    return vars(line)


async def test_a_runs_line_in_the_log_repeats_nothing_that_the_extension_said(
    stack: Stack, caplog: pytest.LogCaptureFixture
) -> None:
    stack.runner.script = status(500, "a secret of the payload")
    assert "secret" not in str(await logged(stack, caplog))
    await stack.close_runner()
    assert "No Runner is listening" in str(await logged(stack, caplog))


async def test_nothing_is_logged_of_runs_where_only_warnings_are(
    stack: Stack, caplog: pytest.LogCaptureFixture
) -> None:
    job = await stack.planned()
    with caplog.at_level(logging.WARNING, "service.worker.firing.run_executor"):
        assert await stack.executor.execute(job) is None
    assert caplog.records == []

"""What is found when a run begins, and what comes of it."""

import logging
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial

import asyncpg
import pytest

from service.storage.runs import attempts
from service.storage.runs.attempts import ClaimRequest
from service.storage.runs.updates import RunUpdate, write_updates
from tests.support.firing_stack import SLOT, Stack, firing_stack
from tests.support.runner_double import ReceivedCall


@pytest.fixture
async def stack(pool: asyncpg.Pool, nats_url: str) -> AsyncIterator[Stack]:
    async with firing_stack(pool, nats_url) as stack:
        yield stack


SKIPPED = [
    ("DELETE FROM tenant_extension_schedule", "schedule deleted"),
    ("UPDATE tenant_extension_schedule SET enabled = false", "schedule disabled"),
    ("UPDATE tenant_extension_install SET is_enabled = false", "install disabled"),
    ("UPDATE tenant_extension_install SET status = 'disabled'", "install disabled"),
    ("INSERT INTO ext_scheduler.tenant_pauses VALUES ('tenant-1', now(), 'test')", "tenant paused"),
]


@pytest.mark.parametrize(("change", "reason"), SKIPPED)
async def test_run_of_a_disabled_schedule_install_or_tenant_is_skipped(
    stack: Stack, change: str, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    job = await stack.planned()
    await stack.pool.execute(change)
    assert await stack.executor.execute(job) is None
    run = await stack.run(job)
    assert (run["status"], run["error"]) == ("skipped", reason)
    (line,) = [record for record in caplog.records if record.message == "run"]
    assert reason in str(vars(line))
    assert stack.runner.calls == []
    assert await stack.events() == []
    rows = await stack.pool.fetch("SELECT last_run_status FROM tenant_extension_schedule")
    assert [row["last_run_status"] for row in rows] in ([], [None])


async def test_run_handed_back_since_it_was_read_is_not_claimed_as_lost(stack: Stack) -> None:
    job = await stack.planned()
    async with stack.pool.acquire() as connection, connection.transaction():
        now = await connection.fetchval("SELECT clock_timestamp()")
        claim = partial(attempts.claim, connection, worker="one", now=now, lease_until=now)
        (run,) = (await attempts.load(connection, [job])).values()
        (claimed,), _ = await claim([ClaimRequest(run)])
        (read,) = (await attempts.load(connection, [job])).values()
        assert read.status == "running"
        back = RunUpdate(run=claimed, status="queued", now=now, handed_back=True)
        assert await write_updates(connection, [back]) == [back]
        assert await claim([ClaimRequest(read, lost=attempts.WORKER_LOST)]) == ([], set())
    assert (await stack.run(job))["status"] == "queued"


async def test_manual_run_of_a_disabled_schedule_is_called(stack: Stack) -> None:
    planned = await stack.planned(slot=SLOT - timedelta(minutes=5))
    await stack.pool.execute("UPDATE tenant_extension_schedule SET enabled = false")
    job = await stack.manual(planned.schedule_id)
    await stack.executor.execute(job)
    assert (await stack.run(job))["status"] == "success"
    context = stack.runner.calls[0].request["context"]
    assert context["trigger"] == "run_now"


async def test_manual_run_of_a_deleted_schedule_is_skipped(stack: Stack) -> None:
    planned = await stack.planned(slot=SLOT - timedelta(minutes=5))
    job = await stack.manual(planned.schedule_id)
    await stack.pool.execute("DELETE FROM tenant_extension_schedule")
    await stack.executor.execute(job)
    assert (await stack.run(job))["status"] == "skipped"
    assert stack.runner.calls == []


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM extension_api_endpoint",
        "UPDATE extension_api_endpoint SET version_id = gen_random_uuid()",
    ],
)
async def test_missing_endpoint_disables_the_schedule(stack: Stack, change: str) -> None:
    job = await stack.planned()
    await stack.pool.execute(change)
    assert await stack.executor.execute(job) is None
    assert (await stack.run(job))["status"] == "error"
    row = await stack.schedule(job)
    assert (row["enabled"], row["job_id"], row["runner_schedule_id"]) == (False, None, None)
    assert row["last_run_status"] == "error"
    assert "disabled" in row["last_error"]
    assert row["revision"] == 1
    assert stack.runner.calls == []
    assert sorted(await stack.events()) == ["run.failed", "schedule.disabled"]
    assert await stack.pool.fetchval("SELECT count(*) FROM ext_scheduler.timers") == 0
    entry = await stack.pool.fetchrow("SELECT * FROM ext_scheduler.audit")
    assert entry is not None
    assert (entry["trigger"], entry["schedule_id"]) == ("service", job.schedule_id)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE tenant_extension_install SET config = '[1]'",
        "UPDATE tenant_extension_install SET config = '\"rubbish\"'",
        "UPDATE tenant_extension_install SET config = '3'",
        "UPDATE tenant_extension_install SET config = '\"[1]\"'",
        "DELETE FROM extension_bundle",
    ],
)
async def test_run_that_cannot_be_called_fails_without_a_call(stack: Stack, change: str) -> None:
    job = await stack.planned()
    await stack.pool.execute(change)
    assert await stack.executor.execute(job) is None
    run = await stack.run(job)
    assert (run["status"], run["attempts"]) == ("error", 1)
    assert run["error"]
    assert stack.runner.calls == []
    assert (await stack.schedule(job))["enabled"]


async def test_run_uninstalled_in_flight_writes_nothing(stack: Stack) -> None:
    job = await stack.planned()

    async def uninstall(_: ReceivedCall) -> bytes:
        for table in ("tenant_extension_schedule", "ext_scheduler.runs"):
            await stack.pool.execute(f"DELETE FROM {table}")
        return b'{"status":200}'

    stack.runner.script = uninstall
    assert await stack.executor.execute(job) is None
    for table in ("tenant_extension_schedule", "ext_scheduler.runs", "ext_scheduler.outbox"):
        assert await stack.pool.fetchval(f"SELECT count(*) FROM {table}") == 0

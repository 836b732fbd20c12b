"""Failures in a row: counted in the order of slots, reported once, and where wanted the end."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from service.rules.outcomes import FailureRules
from service.rules.planning import SlotCache
from service.storage.runs.queue import JobPayload
from service.worker.planner import PlannerSettings, plan_due
from tests.support import schedule_rows
from tests.support.admin import Admin
from tests.support.eventually import eventually
from tests.support.faulty_proxy import Disturbance, FaultyProxy, faulty_proxy
from tests.support.firing_stack import SLOT, Stack, firing_stack, job
from tests.support.host import dispatcher
from tests.support.pools import pool_of
from tests.support.runner_double import ReceivedCall, Response, answering, status

REFUSED = status(404)
"""A failure without a retry."""
FINE = answering(b'{"status":200,"headers":{}}')


@pytest.fixture
async def stack(pool: asyncpg.Pool, nats_url: str) -> AsyncIterator[Stack]:
    async with firing_stack(pool, nats_url) as stack:
        yield stack


async def schedule(stack: Stack) -> UUID:
    async with stack.pool.acquire() as connection:
        return await schedule_rows.schedule(connection, stack.made, due_at=SLOT)


def slot(number: int) -> datetime:
    return SLOT + number * timedelta(minutes=5)


async def due(stack: Stack, schedule_id: UUID, number: int) -> JobPayload:
    """Plan a slot of a schedule; return the payload of its job."""
    stack.clock.now = slot(number) + timedelta(seconds=1)
    async with stack.pool.acquire() as connection:
        await plan_due(connection, stack.clock.now, PlannerSettings(), SlotCache())
    return job(stack.made.tenant_id, schedule_id, slot(number))


async def runs(
    stack: Stack, schedule_id: UUID, outcomes: str, *, first: int = 0, **settings: object
) -> None:
    """Let slots come: ``x`` is a failure, ``.`` a success. Each has a worker of its own."""
    for number, outcome in enumerate(outcomes, first):
        stack.runner.script = REFUSED if outcome == "x" else FINE
        worker = stack.another(**settings)
        assert await worker.execute(await due(stack, schedule_id, number)) is None


async def changes(stack: Stack) -> list[str]:
    """Return the events about schedules."""
    return [event for event in await stack.events() if event.startswith("schedule.")]


async def row(stack: Stack, schedule_id: UUID) -> dict[str, Any]:
    (found,) = await stack.pool.fetch(
        "SELECT enabled, failures, failing_since, disabled_after, last_error, job_id"
        " FROM tenant_extension_schedule WHERE id = $1",
        schedule_id,
    )
    return dict(found)


@pytest.mark.parametrize(
    ("outcomes", "events"),
    [
        ("..", []),
        ("xx", []),
        ("xx.xx", []),
        ("xxx", ["schedule.failing"]),
        ("xxxxxx", ["schedule.failing"]),
        ("xxxx..", ["schedule.failing", "schedule.recovered"]),
        ("xxx.x.xxx", ["schedule.failing", "schedule.recovered", "schedule.failing"]),
    ],
)
async def test_the_third_failure_in_a_row_and_the_success_after_it_are_reported_once(
    stack: Stack, outcomes: str, events: list[str]
) -> None:
    await runs(stack, await schedule(stack), outcomes)
    assert await changes(stack) == events


async def test_the_event_names_the_run_the_number_of_failures_and_the_error(stack: Stack) -> None:
    id_ = await schedule(stack)
    await runs(stack, id_, "xx", failures=FailureRules(failing_after=2))
    (event,) = await stack.pool.fetch(
        "SELECT * FROM ext_scheduler.outbox WHERE type = 'schedule.failing'"
    )
    assert event["run_id"] == job(stack.made.tenant_id, id_, slot(1)).run_id
    assert json.loads(event["data"]) == {
        "slot": "2026-03-02T12:05:00Z",
        "failures": 2,
        "error": "The extension answered with status 404",
    }


async def test_a_retried_run_counts_once(stack: Stack) -> None:
    id_ = await schedule(stack)
    stack.runner.script = status(503)
    payload = await due(stack, id_, 0)
    while (delay := await stack.executor.execute(payload)) is not None:
        stack.clock.forward(delay.total_seconds())
    assert (await row(stack, id_))["failures"] == 1


async def test_an_older_run_that_ends_late_does_not_count(stack: Stack) -> None:
    id_ = await schedule(stack)
    release = asyncio.Event()

    async def held(_: ReceivedCall) -> Response:
        await release.wait()
        return b'{"status":404}'

    stack.runner.script = held
    late = asyncio.create_task(stack.executor.execute(await due(stack, id_, 0)))
    await eventually(lambda: stack.runner.calls)
    await stack.pool.execute("DELETE FROM ext_scheduler.active_runs")
    await runs(stack, id_, "xx", first=1)
    release.set()
    await late
    assert (await row(stack, id_))["failures"] == 2
    assert await changes(stack) == []


async def test_runs_of_one_schedule_that_end_in_one_batch_are_counted_in_the_order_of_slots(
    stack: Stack,
) -> None:
    id_ = await schedule(stack)
    payloads = [await due(stack, id_, number) for number in range(4)]
    await stack.pool.execute(
        "UPDATE ext_scheduler.runs SET status = 'running', attempts = 4, lease_until = $1", SLOT
    )
    worker = stack.another(batch_wait_s=0.2, batch_lanes=1)
    await asyncio.gather(*(worker.execute(payload) for payload in payloads))
    assert (await row(stack, id_))["failures"] == 4
    assert await changes(stack) == ["schedule.failing"]


async def test_a_lost_answer_to_commit_reports_no_change_twice(
    database: str, nats_url: str
) -> None:
    async with (
        faulty_proxy(database) as proxy,
        pool_of(proxy.dsn, min_size=1, max_size=4) as pool,
        firing_stack(pool, nats_url) as stack,
    ):
        id_ = await schedule(stack)
        await runs(stack, id_, "xx")
        stack.runner.script = _losing(proxy)
        executing = asyncio.create_task(stack.executor.execute(await due(stack, id_, 2)))
        await eventually(lambda: proxy.answers_lost > 0)
        proxy.disturb(Disturbance.NONE)
        await executing
        assert (await row(stack, id_))["failures"] == 3
        assert await changes(stack) == ["schedule.failing"]


def _losing(proxy: FaultyProxy) -> Any:
    async def disturbed(call: ReceivedCall) -> Response:
        proxy.disturb(Disturbance.LOST_COMMITS)
        return await REFUSED(call)

    return disturbed


async def test_too_many_failures_disable_the_schedule_with_mark_audit_and_event(
    stack: Stack,
) -> None:
    id_ = await schedule(stack)
    rules = FailureRules(failing_after=2, disable_after=4)
    await runs(stack, id_, "xxxx", failures=rules)
    assert await row(stack, id_) | {"failing_since": None} == {
        "enabled": False,
        "failures": 4,
        "failing_since": None,
        "disabled_after": 4,
        "last_error": "Disabled after 4 failures in a row: The extension answered with status 404",
        "job_id": None,
    }
    assert await changes(stack) == ["schedule.failing", "schedule.disabled"]
    async with stack.pool.acquire() as connection:
        assert await schedule_rows.due_at(connection, id_) is None
    (entry,) = await stack.pool.fetch("SELECT * FROM ext_scheduler.audit")
    assert (entry["op"], entry["trigger"], entry["actor"]) == ("disable", "service", "worker")
    assert json.loads(entry["changes"]) == {"enabled": [True, False], "failures": 4}


async def test_no_number_of_failures_disables_by_default(stack: Stack) -> None:
    id_ = await schedule(stack)
    await runs(stack, id_, "x" * 12)
    assert (await row(stack, id_))["enabled"] is True


async def test_a_failing_and_a_disabled_schedule_are_explained_and_enabling_starts_anew(
    stack: Stack,
) -> None:
    served = dispatcher(stack.pool, clock=lambda _: stack.clock.now)
    admin = Admin(served, tenant_id=stack.made.tenant_id, sub="user-7")
    id_, rules = await schedule(stack), FailureRules(failing_after=2, disable_after=3)
    await runs(stack, id_, "xx", failures=rules)
    findings = (await admin("explain", scheduleId=str(id_)))["findings"]
    failing = next(finding for finding in findings if finding["code"] == "schedule_failing")
    assert "its last 2 runs failed" in failing["text"]
    assert failing["since"][:16] == "2026-03-02T12:05"

    await runs(stack, id_, "x", first=2, failures=rules)
    held = (await admin("explain", scheduleId=str(id_)))["findings"][0]
    assert (held["code"], held["holds"], held["by"]) == ("schedule_disabled", True, "worker")
    assert "Disabled after 3 failures in a row" in held["text"]
    assert held["advice"].startswith("Mend what fails")

    await admin(
        "updateSchedule", scheduleId=str(id_), installId=str(stack.made.install_id), enabled=True
    )
    enabled = await row(stack, id_)
    assert (enabled["failures"], enabled["failing_since"], enabled["disabled_after"]) == (None,) * 3
    await stack.pool.execute("UPDATE ext_scheduler.timers SET due_at = $1", slot(3))
    await runs(stack, id_, "xx", first=3, failures=rules)
    assert (await row(stack, id_))["enabled"] is True


async def test_a_success_of_a_manual_run_ends_the_series_of_a_disabled_schedule(
    stack: Stack,
) -> None:
    id_ = await schedule(stack)
    await runs(stack, id_, "xxx", failures=FailureRules(disable_after=3))
    stack.clock.forward(60)
    stack.runner.script = FINE
    assert await stack.executor.execute(await stack.manual(id_)) is None
    assert (await changes(stack))[-1] == "schedule.recovered"
    assert (await row(stack, id_))["failures"] == 0


async def test_slots_that_were_missed_are_an_event(stack: Stack) -> None:
    id_ = await schedule(stack)
    await due(stack, id_, 3)
    (data,) = await stack.pool.fetch(
        "SELECT schedule_id, data FROM ext_scheduler.outbox WHERE type = 'schedule.missed'"
    )
    assert data["schedule_id"] == id_
    assert json.loads(data["data"]) == {"slots": 3, "nextRunAt": "2026-03-02T12:20:00.000Z"}

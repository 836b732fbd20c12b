"""Why a schedule does not fire, and what its history shows: Runners, limits, pauses."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from msgspec import Struct

from service.rules.limits import Limits
from service.storage.runs import workers
from tests.support import schedule_rows
from tests.support.admin import Admin, register
from tests.support.command_line import command_line
from tests.support.firing_stack import SLOT, Stack, firing_stack
from tests.support.host import Caller, dispatcher
from tests.support.responders import responders

LIMITS = Limits(max_schedules=1, changes_per_minute=1, manual_runs_per_minute=1)


class Inquest(Struct, frozen=True):
    """A stack with one worker up, whose service has the least limits."""

    stack: Stack
    admin: Admin

    async def why(self, schedule_id: UUID) -> dict[str, dict[str, Any]]:
        """Return the findings by code."""
        async with self.stack.pool.acquire() as connection:
            await workers.seen(connection, "worker-1", self.stack.clock.now, 0, 10, first=True)
        answer = await self.admin("explain", scheduleId=str(schedule_id))
        return {finding["code"]: finding for finding in answer["findings"]}

    async def schedule(self) -> UUID:
        """Return a schedule that exists since the day before, due in five minutes."""
        async with self.stack.pool.acquire() as connection:
            due_at = SLOT + timedelta(minutes=5)
            id_ = await schedule_rows.schedule(connection, self.stack.made, due_at=due_at)
            created_at = SLOT - timedelta(days=1)
            await connection.execute(
                "UPDATE tenant_extension_schedule SET created_at = $2 WHERE id = $1",
                id_,
                created_at,
            )
        return id_


@pytest.fixture
async def inquest(pool: asyncpg.Pool, nats_url: str) -> AsyncIterator[Inquest]:
    async with firing_stack(pool, nats_url) as stack:
        served = dispatcher(pool, LIMITS, clock=lambda _: stack.clock.now)
        yield Inquest(stack, Admin(served, tenant_id=stack.made.tenant_id, sub="user-7"))


async def test_a_runner_that_is_away_is_named_with_its_run(inquest: Inquest) -> None:
    stack = inquest.stack
    job = await stack.planned()
    assert "runner_away" not in await inquest.why(job.schedule_id)
    await stack.close_runner()
    await stack.executor.execute(job)
    findings = await inquest.why(job.schedule_id)
    assert {"retry_waiting", "runner_away"} <= findings.keys()
    away = findings["runner_away"]
    assert "No Runner is listening" in away["text"]
    assert (away["runId"], away["holds"]) == (str(job.run_id), False)
    assert "bridge" in away["advice"]


async def test_used_up_limits_are_named_and_hold_nothing(inquest: Inquest) -> None:
    schedule = await inquest.schedule()
    findings = await inquest.why(schedule)
    assert findings.keys() == {"nothing_holds", "quota_used"}
    assert "1 of 1 schedules" in findings["quota_used"]["text"]
    caller = Caller(inquest.admin.dispatcher, inquest.stack.made)
    changed = await caller("update", scheduleId=str(schedule), name="renamed")
    assert changed["success"], changed
    again = await caller("update", scheduleId=str(schedule), name="once more")
    assert again["code"] == "RATE_LIMITED"
    assert "changes within a minute" in (await inquest.why(schedule))["rate_used"]["text"]
    inquest.stack.clock.forward(61)
    assert "rate_used" not in await inquest.why(schedule)
    assert (await inquest.admin("runNow", scheduleId=str(schedule)))["success"]
    assert "manual runs within a minute" in (await inquest.why(schedule))["rate_used"]["text"]


async def test_slots_that_fell_into_a_pause_are_in_the_history(inquest: Inquest) -> None:
    schedule, stack, admin = await inquest.schedule(), inquest.stack, inquest.admin
    tenant = {"tenantId": admin.tenant_id}
    assert "pauses" not in await admin("runHistory", scheduleId=str(schedule))
    began = stack.clock.now
    await admin("setTenantPaused", **tenant, paused=True, reason="Ticket 4711")
    shown = await admin("getSchedule", scheduleId=str(schedule))
    assert shown["paused"]["reason"] == "Ticket 4711"
    assert shown["paused"]["by"].endswith("/user-7")
    stack.clock.forward(1200)
    (going_on,) = (await admin("runHistory", scheduleId=str(schedule)))["pauses"]
    assert (going_on["until"], going_on["slots"]) == (None, 4)
    await admin("setTenantPaused", **tenant, paused=False)
    stack.clock.forward(1200)
    (pause,) = (await admin("runHistory", scheduleId=str(schedule)))["pauses"]
    assert pause["slots"] == 4
    assert pause["reason"] == "Ticket 4711"
    assert pause["since"] < pause["until"]
    assert "paused" not in await admin("getSchedule", scheduleId=str(schedule))
    earlier = {"until": f"{began - timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"}
    assert "pauses" not in await admin("runHistory", scheduleId=str(schedule), **earlier)
    assert "pauses" not in await admin("runHistory", **tenant)


async def test_the_command_line_shows_pauses_with_schedule_and_history(
    pool: asyncpg.Pool, tmp_path: Path, database: str, nats_url: str
) -> None:
    admin = Admin(dispatcher(pool), tenant_id="acme")
    install_id = (await register(admin, "1.0.0", "/a"))["installId"]
    body = {"endpoint": "/a", "cron": "0 3 * * *", "name": "nightly"}
    await admin("createSchedule", installId=install_id, **body)
    async with responders(1, tmp_path, database, nats_url):
        line = command_line(tmp_path, nats_url)
        await line.ok("admin", "pause", "acme", "--reason", "ticket 4711")
        shown = (await line.ok("admin", "show", "acme/demo/nightly")).out.splitlines()
        assert next(text for text in shown if text.startswith("PAUSED REASON")).endswith("4711")
        assert any(text.startswith("PAUSED SINCE ") for text in shown)
        assert any(text.startswith("PAUSED BY ") for text in shown)
        history = (await line.ok("admin", "history", "acme/demo/nightly")).out.splitlines()
        assert history[:2] == ["no runs", "pauses (1):"]
        assert history[2].split() == ["SINCE", "UNTIL", "BY", "REASON", "SLOTS"]
        assert "ticket 4711" in history[3]

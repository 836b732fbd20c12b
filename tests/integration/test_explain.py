"""Why a schedule does not fire: each cause made for real, and the answer read."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from msgspec import Struct

from service.rules.planning import SlotCache
from service.storage.runs import workers
from service.worker.planner import PlannerSettings, plan_due
from tests.support import schedule_rows
from tests.support.admin import Admin, operator
from tests.support.eventually import eventually
from tests.support.firing_stack import SLOT, Stack, firing_stack
from tests.support.host import dispatcher
from tests.support.runner_double import ReceivedCall, status

EARLY = SLOT - timedelta(days=1)


class Inquiry(Struct, frozen=True):
    """A stack with one worker up, and an administrator who asks at the stack's time."""

    stack: Stack
    admin: Admin

    async def why(
        self, schedule_id: UUID, at: datetime | str | None = None
    ) -> list[dict[str, Any]]:
        """Return the findings, as code → finding would lose their order."""
        await self.worker_is_seen()
        body = {} if at is None else {"at": at if isinstance(at, str) else f"{at.isoformat()}"}
        answer = await self.admin("explain", scheduleId=str(schedule_id), **body)
        findings: list[dict[str, Any]] = answer["findings"]
        return findings

    async def worker_is_seen(self) -> None:
        async with self.stack.pool.acquire() as connection:
            await workers.seen(connection, "worker-1", self.stack.clock.now, 0, 10, first=True)

    async def schedule(self, **row: Any) -> UUID:
        """Return a schedule that exists since the day before, with a timer at the next slot."""
        async with self.stack.pool.acquire() as connection:
            values = {"due_at": SLOT + timedelta(minutes=5), **row}
            id_ = await schedule_rows.schedule(connection, self.stack.made, **values)
            await connection.execute(
                "UPDATE tenant_extension_schedule SET created_at = $2 WHERE id = $1", id_, EARLY
            )
        return id_

    async def plan(self, now: datetime) -> None:
        async with self.stack.pool.acquire() as connection:
            await plan_due(connection, now, PlannerSettings(), SlotCache())


@pytest.fixture
async def inquiry(pool: asyncpg.Pool, nats_url: str) -> AsyncIterator[Inquiry]:
    async with firing_stack(pool, nats_url) as stack:
        served = dispatcher(pool, clock=lambda _: stack.clock.now)
        yield Inquiry(stack, Admin(served, tenant_id=stack.made.tenant_id, sub="user-7"))


def codes(findings: list[dict[str, Any]]) -> list[str]:
    return [finding["code"] for finding in findings]


def holding(findings: list[dict[str, Any]]) -> list[str]:
    return [finding["code"] for finding in findings if finding["holds"]]


async def test_nothing_holds_a_schedule_that_is_well(inquiry: Inquiry) -> None:
    (finding,) = await inquiry.why(await inquiry.schedule())
    assert finding["code"] == "nothing_holds"
    assert "fires next at" in finding["text"]


async def test_paused_tenant_is_named_first_with_its_reason_and_who_paused_it(
    inquiry: Inquiry,
) -> None:
    schedule = await inquiry.schedule()
    body = {"tenantId": inquiry.admin.tenant_id, "paused": True, "reason": "Ticket 4711"}
    await inquiry.admin("setTenantPaused", **body)
    (finding,) = await inquiry.why(schedule)
    assert finding["code"] == "tenant_paused"
    assert finding["holds"] is True
    assert "Ticket 4711" in finding["text"]
    assert finding["by"].endswith("/user-7")
    assert finding["since"][:19] == f"{inquiry.stack.clock.now:%Y-%m-%dT%H:%M:%S}"
    assert "Resume" in finding["advice"]


async def test_disabled_install_and_schedule_say_since_when_and_by_whom(inquiry: Inquiry) -> None:
    schedule, install_id = await inquiry.schedule(), str(inquiry.stack.made.install_id)
    await inquiry.admin("setInstallEnabled", installId=install_id, enabled=False)
    (finding,) = await inquiry.why(schedule)
    assert (finding["code"], finding["by"][-6:]) == ("install_disabled", "user-7")
    assert finding["since"] is not None
    await inquiry.admin("setInstallEnabled", installId=install_id, enabled=True)
    await inquiry.admin("disableSchedules", installId=install_id)
    (finding,) = await inquiry.why(schedule)
    assert (finding["code"], finding["by"][-6:]) == ("schedule_disabled", "user-7")
    shown = (await inquiry.admin("getSchedule", scheduleId=str(schedule)))["schedule"]
    assert shown["heldBy"] == "schedule_disabled"


async def test_missing_endpoint_install_and_capability_are_found(inquiry: Inquiry) -> None:
    schedule, pool, made = await inquiry.schedule(), inquiry.stack.pool, inquiry.stack.made
    await pool.execute("UPDATE tenant_extension_install SET granted_caps = '[]'")
    assert codes(await inquiry.why(schedule)) == ["nothing_holds", "capability_missing"]
    await pool.execute("DELETE FROM extension_api_endpoint WHERE version_id = $1", made.version_id)
    assert holding(await inquiry.why(schedule)) == ["endpoint_missing"]
    await pool.execute("DELETE FROM tenant_extension_install WHERE id = $1", made.install_id)
    assert holding(await inquiry.why(schedule)) == ["install_missing"]


async def test_timer_that_is_missing_or_made_from_something_else_is_found(
    inquiry: Inquiry,
) -> None:
    schedule, pool = await inquiry.schedule(), inquiry.stack.pool
    await pool.execute("UPDATE tenant_extension_schedule SET cron = '0 4 * * *'")
    assert holding(await inquiry.why(schedule)) == ["timer_differs"]
    await pool.execute("DELETE FROM ext_scheduler.timers")
    assert holding(await inquiry.why(schedule)) == ["timer_missing"]
    await pool.execute("UPDATE tenant_extension_schedule SET cron = 'rubbish'")
    assert holding(await inquiry.why(schedule)) == ["cron_invalid"]


async def test_schedule_with_a_foreign_handle_is_driven_by_another(inquiry: Inquiry) -> None:
    schedule = await inquiry.schedule()
    await inquiry.stack.pool.execute(
        "UPDATE tenant_extension_schedule SET runner_schedule_id = 'temporal:x'"
    )
    (finding,) = await inquiry.why(schedule)
    assert finding["code"] == "driven_by_other"
    assert "temporal:x" in finding["text"]


async def test_absence_of_workers_and_of_planning_is_found(inquiry: Inquiry) -> None:
    schedule, stack = await inquiry.schedule(), inquiry.stack
    stack.clock.forward(600)
    assert holding(await inquiry.why(schedule)) == ["timer_overdue"]
    stack.clock.forward(60)
    (finding,) = (await inquiry.admin("explain", scheduleId=str(schedule)))["findings"]
    assert finding["code"] == "no_worker_up"
    assert finding["since"] is not None


async def test_run_in_progress_and_waiting_retry_hold_the_next_slot(inquiry: Inquiry) -> None:
    stack, release = inquiry.stack, asyncio.Event()

    async def held(_: ReceivedCall) -> bytes:
        await release.wait()
        return b'{"status":503}'

    job = await stack.planned()
    assert "run_waiting" in codes(await inquiry.why(job.schedule_id))
    stack.runner.script = held
    firing = asyncio.create_task(stack.executor.execute(job))
    await eventually(lambda: stack.runner.calls)
    running = [f for f in await inquiry.why(job.schedule_id) if f["holds"]]
    assert (codes(running), running[0]["runId"]) == (["run_in_progress"], str(job.run_id))
    release.set()
    await firing
    (waiting,) = [f for f in await inquiry.why(job.schedule_id) if f["holds"]]
    assert waiting["code"] == "retry_waiting"
    assert "status 503" in waiting["text"]


async def test_slot_that_ran_failed_or_was_skipped_names_its_run(inquiry: Inquiry) -> None:
    stack = inquiry.stack
    job = await stack.planned()
    assert (await inquiry.why(job.schedule_id, SLOT))[-1]["code"] == "slot_in_progress"
    await stack.executor.execute(job)
    ran = (await inquiry.why(job.schedule_id, SLOT))[-1]
    assert (ran["code"], ran["runId"], ran["by"]) == ("slot_ran", str(job.run_id), "worker-1")
    stack.runner.script = status(404)
    failed = await stack.planned()
    await stack.executor.execute(failed)
    findings = await inquiry.why(failed.schedule_id, SLOT)
    assert codes(findings) == ["nothing_holds", "last_run_failed", "slot_failed"]
    skipped = await stack.planned()
    body = {"tenantId": inquiry.admin.tenant_id, "paused": True}
    await inquiry.admin("setTenantPaused", **body)
    await stack.executor.execute(skipped)
    finding = (await inquiry.why(skipped.schedule_id, SLOT))[-1]
    assert (finding["code"], finding["text"]) == (
        "slot_skipped",
        "It was skipped: tenant paused",
    )


async def test_slot_within_a_pause_says_from_when_to_when_it_lasted(inquiry: Inquiry) -> None:
    schedule, stack = await inquiry.schedule(), inquiry.stack
    tenant, install = inquiry.admin.tenant_id, str(stack.made.install_id)
    slot = SLOT + timedelta(minutes=5)
    await inquiry.admin("setTenantPaused", tenantId=tenant, paused=True, reason="Ticket 4711")
    stack.clock.forward(600)
    await inquiry.admin("setTenantPaused", tenantId=tenant, paused=False)
    finding = (await inquiry.why(schedule, slot))[-1]
    assert finding["code"] == "slot_during_pause"
    assert "Ticket 4711" in finding["text"]
    assert "until" in finding["text"]
    assert finding["by"].endswith("user-7")
    await inquiry.admin("setInstallEnabled", installId=install, enabled=False)
    stack.clock.forward(600)
    await inquiry.admin("setInstallEnabled", installId=install, enabled=True)
    finding = (await inquiry.why(schedule, slot + timedelta(minutes=10)))[-1]
    assert finding["code"] == "slot_during_install_disabled"
    await inquiry.admin("disableSchedules", installId=install)
    stack.clock.forward(600)
    finding = (await inquiry.why(schedule, slot + timedelta(minutes=20)))[-1]
    assert finding["code"] == "slot_during_schedule_disabled"


@pytest.mark.parametrize("op", ["setTenantPaused", "setInstallEnabled", "updateSchedule"])
async def test_what_was_switched_off_again_lasts_although_its_time_is_the_earlier_one(
    inquiry: Inquiry, op: str
) -> None:
    schedule, clock = await inquiry.schedule(), inquiry.stack.clock
    where = {
        "setTenantPaused": {"tenantId": inquiry.admin.tenant_id},
        "setInstallEnabled": {"installId": str(inquiry.stack.made.install_id)},
        "updateSchedule": {
            "installId": str(inquiry.stack.made.install_id),
            "scheduleId": str(schedule),
        },
    }[op]
    name, off = ("paused", True) if op == "setTenantPaused" else ("enabled", False)
    await inquiry.admin(op, **where, **{name: off})
    clock.forward(1800)
    await inquiry.admin(op, **where, **{name: not off})
    clock.forward(-1200)  # it is set back
    await inquiry.admin(op, **where, **{name: off})
    clock.forward(2400)
    for minutes in (15, 35):
        finding = (await inquiry.why(schedule, SLOT + timedelta(minutes=minutes)))[-1]
        assert finding["code"].startswith("slot_during_")
        assert datetime.fromisoformat(finding["since"]) - SLOT < timedelta(minutes=11)
        assert datetime.fromisoformat(finding["since"]) - SLOT > timedelta(minutes=9)
        assert "until" not in finding["text"]


async def test_missed_slot_is_counted_by_the_next_run(inquiry: Inquiry) -> None:
    schedule, stack = await inquiry.schedule(), inquiry.stack
    missed = SLOT + timedelta(minutes=5)
    stack.clock.forward(1200)
    await inquiry.plan(stack.clock.now)
    async with stack.pool.acquire() as connection:
        (run,) = await schedule_rows.runs(connection, schedule)
    assert run["missed"] > 0
    finding = (await inquiry.why(schedule, missed))[-1]
    assert (finding["code"], finding["runId"]) == ("slot_missed", str(run["id"]))
    await stack.pool.execute("DELETE FROM ext_scheduler.runs")
    await stack.pool.execute("UPDATE ext_scheduler.timers SET missed = 3")
    assert (await inquiry.why(schedule, missed))[-1]["text"].endswith("next run will count it")
    await stack.pool.execute("UPDATE ext_scheduler.timers SET missed = 0")
    assert (await inquiry.why(schedule, missed))[-1]["code"] == "slot_unaccounted"


async def test_instant_that_is_no_slot_of_the_schedule_says_why(inquiry: Inquiry) -> None:
    schedule, now = await inquiry.schedule(), inquiry.stack.clock.now
    for at, code in (
        (SLOT + timedelta(hours=1), "slot_in_future"),
        (EARLY - timedelta(hours=1), "slot_before_schedule"),
        (SLOT - timedelta(minutes=2), "slot_not_due"),
    ):
        finding = (await inquiry.why(schedule, at))[-1]
        assert finding["code"] == code, now
    assert "the one before was" in finding["text"]
    await inquiry.stack.pool.execute(
        "UPDATE tenant_extension_schedule SET created_at = $1", EARLY - timedelta(days=90)
    )
    assert (await inquiry.why(schedule, EARLY - timedelta(days=60)))[-1]["code"] == "slot_expired"


async def test_wall_time_that_the_clock_jumped_over_is_explained(inquiry: Inquiry) -> None:
    schedule = await inquiry.schedule(cron="30 2 * * *", timezone="Europe/Berlin")
    ahead = datetime(2027, 3, 29, 12, 0, tzinfo=UTC) - inquiry.stack.clock.now
    inquiry.stack.clock.forward(ahead.total_seconds())
    findings = await inquiry.why(schedule, "2027-03-28 02:30")
    jumped, outcome = findings[-2:]
    assert jumped["code"] == "slot_skipped_by_clock"
    assert "02:30 did not exist on 2027-03-28" in jumped["text"]
    assert "to 03:00" in jumped["text"]
    assert outcome["code"] in {"slot_unaccounted", "slot_in_progress"}
    body = {"scheduleId": str(schedule), "at": "02:30"}
    assert (await inquiry.admin("explain", **body))["slot"] == "2027-03-29T00:30:00.000Z"
    refused = await inquiry.admin("explain", scheduleId=str(schedule), at="whenever")
    assert refused["fieldErrors"] == {"at": "Invalid at"}


async def test_wall_time_that_the_clock_showed_twice_is_told_apart(inquiry: Inquiry) -> None:
    schedule = await inquiry.schedule(cron="30 2 * * *", timezone="Europe/Berlin")
    ahead = datetime(2027, 10, 31, 12, 0, tzinfo=UTC) - inquiry.stack.clock.now
    inquiry.stack.clock.forward(ahead.total_seconds())
    first = (await inquiry.why(schedule, "2027-10-31 02:30"))[-1]
    assert "this is the first time, the second is 2027-10-31 01:30 UTC" in first["text"]
    for instant in ("2027-10-31T01:30:00Z", "2027-10-31T02:30:00+01:00"):
        second = (await inquiry.why(schedule, instant))[-1]
        assert second["code"] == "slot_not_due"
        assert "this is the second time, the first is 2027-10-31 00:30 UTC" in second["text"]
        assert "only the first is a slot" in second["text"]


async def test_schedules_are_listed_with_what_holds_them(inquiry: Inquiry) -> None:
    await inquiry.schedule()
    await inquiry.schedule(enabled=False, due_at=None)
    everyone = operator(inquiry.admin.dispatcher)
    listed = (await everyone("listSchedules"))["schedules"]
    assert sorted(str(row["heldBy"]) for row in listed) == ["None", "schedule_disabled"]
    await everyone("setTenantPaused", tenantId=inquiry.admin.tenant_id, paused=True)
    listed = (await everyone("listSchedules"))["schedules"]
    assert [row["heldBy"] for row in listed] == ["tenant_paused", "tenant_paused"]

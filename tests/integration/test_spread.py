"""Starts that are spread over a period: the slots stay what they are, whatever happens around."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from msgspec import Struct

from service.rules.planning import PlanningRules, SlotCache
from service.worker import maintenance, slot_audit
from service.worker.maintenance import MaintenanceSettings
from service.worker.planner import PlannerSettings, plan_due
from service.worker.zone_data import follow_zone_data
from tests.support.admin import Admin, operator, register
from tests.support.firing_stack import SLOT, FakeClock, firing_stack
from tests.support.host import dispatcher

SPREAD = timedelta(seconds=240)
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
SETTINGS = PlannerSettings(rules=PlanningRules(spread=SPREAD))
HOURLY = {"cron": "0 * * * *", "endpoint": "/a"}


class Herd(Struct):
    """A service whose clock the test moves, and schedules that all have the same slots."""

    pool: asyncpg.Pool
    clock: FakeClock
    admin: Admin
    operator: Admin
    install_id: str
    ids: list[UUID]

    async def starts(self) -> dict[UUID, datetime]:
        rows = await self.pool.fetch("SELECT schedule_id, due_at FROM ext_scheduler.timers")
        return {row[0]: row[1] for row in rows}

    async def runs(self) -> list[tuple[datetime, str, int]]:
        rows = await self.pool.fetch("SELECT slot, trigger, missed FROM ext_scheduler.runs")
        return sorted((row[0], row[1], row[2]) for row in rows)

    async def until(self, end: datetime, step: timedelta = timedelta(seconds=2)) -> None:
        """Let time pass, planning at each step, and let what was planned succeed."""
        slots = SlotCache(spread=SPREAD)
        async with self.pool.acquire() as connection:
            while self.clock.now < end:
                self.clock.now = min(end, self.clock.now + step)
                if (await plan_due(connection, self.clock.now, SETTINGS, slots)).occurrences:
                    await connection.execute(
                        "UPDATE ext_scheduler.runs SET status = 'success' WHERE status = 'queued'"
                    )

    async def explain(self, schedule_id: UUID, at: datetime) -> dict[str, Any]:
        body = {"scheduleId": str(schedule_id), "at": at.isoformat()}
        answer = await self.admin("explain", **body)
        found: dict[str, Any] = answer["findings"][-1]
        return found

    async def account(self) -> list[dict[str, Any]]:
        begin, end = SLOT - MINUTE, SLOT + HOUR
        body = {"from": begin.isoformat(), "to": end.isoformat()}
        answer = await self.admin("account", **body)
        rows: list[dict[str, Any]] = answer["schedules"]
        return rows


@pytest.fixture
async def herd(pool: asyncpg.Pool) -> Herd:
    clock = FakeClock(SLOT - 10 * MINUTE + SECOND)
    served = dispatcher(pool, clock=lambda _: clock.now, spread=SPREAD)
    admin = Admin(served, tenant_id="acme")
    install_id = (await register(admin, "1.0.0", "/a"))["installId"]
    ids = [
        UUID((await admin("createSchedule", installId=install_id, **HOURLY))["scheduleId"])
        for _ in range(8)
    ]
    return Herd(pool, clock, admin, operator(served), install_id, ids)


async def test_a_slots_runs_start_over_the_period_and_keep_their_slot(herd: Herd) -> None:
    starts = await herd.starts()
    assert all(SLOT <= start < SLOT + SPREAD for start in starts.values())
    assert len(set(starts.values())) > 1
    middle = sorted(starts.values())[3]
    await herd.until(middle)
    begun = await herd.runs()
    assert 4 <= len(begun) < 8
    await herd.until(SLOT + HOUR - SECOND)
    assert await herd.runs() == [(SLOT, "schedule", 0)] * 8
    assert await herd.starts() == {id_: start + HOUR for id_, start in starts.items()}


async def test_list_states_the_start_as_the_next_run(herd: Herd) -> None:
    starts = await herd.starts()
    listed = await herd.admin("listSchedules")
    shown = {UUID(row["id"]): row["nextRunAt"] for row in listed["schedules"]}
    assert shown == {id_: f"{start:%Y-%m-%dT%H:%M:%S}.000Z" for id_, start in starts.items()}


async def test_reconcile_and_repair_leave_spread_timers_alone(herd: Herd) -> None:
    before = await herd.starts()
    settings = MaintenanceSettings(spread=SPREAD)
    for now in (herd.clock.now, min(before.values()) - SECOND, max(before.values()) - SECOND):
        herd.clock.now = now
        async with herd.pool.acquire() as connection:
            slots = SlotCache(spread=SPREAD)
            report = await maintenance.repair(connection, now, settings, slots)
        assert report.timers_recomputed == 0
        await herd.operator("reconcile", dryRun=False)
        assert await herd.starts() == before


async def test_repair_brings_back_a_timer_that_lies_beyond_its_start(herd: Herd) -> None:
    before = await herd.starts()
    await herd.pool.execute("UPDATE ext_scheduler.timers SET due_at = due_at + interval '1 hour'")
    async with herd.pool.acquire() as connection:
        slots, settings = SlotCache(spread=SPREAD), MaintenanceSettings(spread=SPREAD)
        report = await maintenance.repair(connection, herd.clock.now, settings, slots)
    assert report.timers_recomputed == 8
    assert await herd.starts() == before


async def test_new_zone_data_loses_no_slot_that_waits_for_its_start(herd: Herd) -> None:
    starts = await herd.starts()
    now = min(starts.values()) - SECOND
    async with herd.pool.acquire() as connection:
        await follow_zone_data(connection, now, "2099z", spread=SPREAD)
    assert await herd.starts() == starts


async def test_update_with_the_same_timing_keeps_the_start(herd: Herd) -> None:
    starts = await herd.starts()
    waiting = max(starts, key=lambda id_: starts[id_])
    for now in (herd.clock.now, starts[waiting] - SECOND):
        herd.clock.now = now
        body = {
            "installId": herd.install_id,
            "scheduleId": str(waiting),
            "cron": HOURLY["cron"],
            "name": f"at {now:%H%M%S}",
        }
        answer = await herd.admin("updateSchedule", **body)
        assert answer["success"], answer
        assert await herd.starts() == starts


async def test_explain_says_of_a_waiting_slot_when_its_run_starts(herd: Herd) -> None:
    starts = await herd.starts()
    waiting = max(starts, key=lambda id_: starts[id_])
    herd.clock.now = starts[waiting] - SECOND
    found = await herd.explain(waiting, SLOT)
    assert found["code"] == "slot_in_progress"
    assert f"{starts[waiting]:%H:%M:%S} UTC" in found["text"]
    assert "spread_s" in found["text"]


async def test_account_counts_waiting_slots_as_waiting_and_then_as_fired(herd: Herd) -> None:
    starts = await herd.starts()
    await herd.until(sorted(starts.values())[3])
    rows = await herd.account()
    fired, waiting = sum(r["fired"] for r in rows), sum(r["waiting"] for r in rows)
    assert fired == len(await herd.runs())
    assert fired + waiting == 8
    assert sum(r["unaccounted"] for r in rows) == 0
    await herd.until(SLOT + HOUR - SECOND)
    assert all((r["slots"], r["fired"]) == (1, 1) for r in await herd.account())


async def test_audit_of_slots_waits_for_their_starts(herd: Herd) -> None:
    herd.clock.now = SLOT + 7 * MINUTE
    audit = await slot_audit.run(herd.pool, herd.clock, SPREAD)
    assert audit is not None
    assert audit.until == SLOT - 2 * MINUTE
    assert audit.unaccounted == 0


async def test_pause_that_begins_before_the_start_swallows_the_slot(herd: Herd) -> None:
    starts = await herd.starts()
    herd.clock.now = min(starts.values()) - SECOND
    await herd.admin("setTenantPaused", tenantId="acme", paused=True)
    await herd.until(SLOT + 10 * MINUTE)
    await herd.admin("setTenantPaused", tenantId="acme", paused=False)
    await herd.until(SLOT + HOUR - SECOND)
    assert await herd.runs() == []
    assert all(row["swallowed"] == {"tenant_paused": 1} for row in await herd.account())
    await herd.until(SLOT + HOUR + SPREAD)
    assert await herd.runs() == [(SLOT + HOUR, "schedule", 0)] * 8


async def test_outage_beyond_the_next_slot_catches_up_with_the_latest(herd: Herd) -> None:
    await herd.until(SLOT + 2 * HOUR, step=3 * HOUR)
    assert await herd.runs() == [(SLOT + 2 * HOUR, "catchup", 2)] * 8
    starts = await herd.starts()
    assert all(SLOT + 3 * HOUR <= start < SLOT + 3 * HOUR + SPREAD for start in starts.values())


async def test_spread_that_was_switched_off_fires_each_slot_once(herd: Herd) -> None:
    end, slots = SLOT + HOUR, SlotCache()
    async with herd.pool.acquire() as connection:
        while herd.clock.now < end + MINUTE:
            herd.clock.now += timedelta(seconds=20)
            await plan_due(connection, herd.clock.now, PlannerSettings(), slots)
    assert await herd.runs() == [(SLOT, "schedule", 0)] * 8 + [(end, "schedule", 0)] * 8


async def test_lateness_is_counted_from_the_spread_start(pool: asyncpg.Pool, nats_url: str) -> None:
    async with firing_stack(pool, nats_url) as stack:
        start = SLOT
        while start < SLOT + SPREAD / 2:
            job = await stack.planned(cron="0 * * * *")
            start = SlotCache(spread=SPREAD).start(job.schedule_id, "0 * * * *", "UTC", SLOT)
        stack.clock.now = start + timedelta(milliseconds=250)
        await stack.another(spread=SPREAD).execute(job)
        (lateness,) = stack.metrics.fire_lateness.collect()
        totals = {s.name: s.value for s in lateness.samples if not s.labels}
        run = await stack.run(job)
        assert run["status"] == "success"
        assert totals["extension_scheduler_fire_lateness_seconds_count"] == 1
        assert totals["extension_scheduler_fire_lateness_seconds_sum"] < SPREAD.total_seconds() / 2
        assert totals["extension_scheduler_fire_lateness_seconds_sum"] >= 0.25
        (call,) = stack.runner.calls
        assert call.request["context"]["scheduled_for"] == f"{SLOT:%Y-%m-%dT%H:%M:%SZ}"


async def test_stats_state_how_much_lateness_is_intended(herd: Herd) -> None:
    await herd.until(SLOT + SPREAD)
    await herd.pool.execute("UPDATE ext_scheduler.runs SET attempts = 1, started_at = queued_at")
    stats = await herd.admin("stats")
    assert stats["lateness"]["spreadMs"] == 240_000
    assert stats["lateness"]["maxMs"] <= 241_000 + 2_000

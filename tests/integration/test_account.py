"""The account of slots on a real database: what people changed, what fired, and a planted hole."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from msgspec import Struct

from service.rules.planning import SlotCache
from service.runtime.metrics import Metrics
from service.storage.accounting import SETTLED_AFTER
from service.worker import slot_audit
from service.worker.maintenance import Maintenance
from service.worker.planner import PlannerSettings, plan_due
from tests.support.admin import Admin, operator, register
from tests.support.firing_stack import SLOT, FakeClock
from tests.support.host import dispatcher

MINUTE = timedelta(minutes=1)
START = SLOT
OFTEN = {"cron": "*/5 * * * *", "endpoint": "/a"}


class Hours(Struct):
    """A service whose clock the test moves, and one tenant."""

    pool: asyncpg.Pool
    clock: FakeClock
    admin: Admin
    operator: Admin
    install_id: str

    async def create(self, **fields: Any) -> str:
        answer = await self.admin("createSchedule", installId=self.install_id, **OFTEN, **fields)
        return str(answer["scheduleId"])

    async def change(self, **fields: Any) -> None:
        assert await self.admin("updateSchedule", **fields) == {"success": True}

    async def until(self, minute: int) -> None:
        """Let time pass, planning each minute, and let what was planned succeed."""
        end = START + minute * MINUTE
        async with self.pool.acquire() as connection:
            while self.clock.now < end:
                self.clock.now += MINUTE
                await plan_due(connection, self.clock.now, PlannerSettings(), SlotCache())
                await connection.execute(
                    "UPDATE ext_scheduler.runs SET status = 'success' WHERE status = 'queued'"
                )

    async def account(self, **fields: Any) -> dict[str, dict[str, Any]]:
        """Return the accounts of the first two hours, by schedule."""
        body = {"from": text(0), "to": text(120), **fields}
        answer = await self.admin("account", **body)
        return {row["scheduleId"]: row for row in answer["schedules"]}


def text(minute: int) -> str:
    return f"{START + minute * MINUTE:%Y-%m-%dT%H:%M:%SZ}"


def parts(row: dict[str, Any]) -> dict[str, Any]:
    names = ("slots", "fired", "missed", "skipped", "swallowed", "superseded", "unaccounted")
    return {name: row[name] for name in (*names, "absent") if row[name]}


@pytest.fixture
async def hours(pool: asyncpg.Pool) -> Hours:
    clock = FakeClock(START - 10 * MINUTE + timedelta(seconds=1))
    served = dispatcher(pool, clock=lambda _: clock.now)
    admin = Admin(served, tenant_id="acme")
    install_id = (await register(admin, "1.0.0", "/a"))["installId"]
    return Hours(pool, clock, admin, operator(served), install_id)


async def test_slots_of_a_steady_schedule_have_all_fired(hours: Hours) -> None:
    id_ = await hours.create()
    await hours.until(130)
    assert parts((await hours.account())[id_]) == {"slots": 24, "fired": 24}


async def test_a_deleted_run_row_is_one_unaccounted_slot(hours: Hours) -> None:
    id_, other = await hours.create(), await hours.create()
    await hours.until(130)
    lost = START + 45 * MINUTE
    await hours.pool.execute(
        "DELETE FROM ext_scheduler.runs WHERE schedule_id = $1 AND slot = $2", UUID(id_), lost
    )
    accounts = await hours.account()
    assert parts(accounts[id_]) == {"slots": 24, "fired": 23, "unaccounted": 1}
    assert accounts[id_]["unaccountedSlots"] == [f"{lost:%Y-%m-%dT%H:%M:%S}.000Z"]
    assert parts(accounts[other]) == {"slots": 24, "fired": 24}


async def test_pauses_and_switches_account_for_the_slots_they_swallowed(hours: Hours) -> None:
    id_ = await hours.create()
    await hours.until(30)
    await hours.admin("setTenantPaused", tenantId="acme", paused=True)
    await hours.until(61)
    await hours.admin("setTenantPaused", tenantId="acme", paused=False)
    await hours.until(81)
    await hours.admin("setInstallEnabled", installId=hours.install_id, enabled=False)
    await hours.until(91)
    await hours.admin("setInstallEnabled", installId=hours.install_id, enabled=True)
    await hours.until(100)
    await hours.admin("disableSchedules", installId=hours.install_id)
    await hours.until(130)
    found = parts((await hours.account())[id_])
    assert found.pop("swallowed") == {
        "tenant_paused": 6,
        "install_disabled": 2,
        "schedule_disabled": 4,
    }
    assert found == {"slots": 24, "fired": 12}


async def test_created_changed_and_deleted_schedules_had_no_other_slots(hours: Hours) -> None:
    await hours.until(31)
    made, gone = await hours.create(), await hours.create()
    await hours.until(61)
    where = {"installId": hours.install_id}
    await hours.admin("updateSchedule", **where, scheduleId=made, cron="0 * * * *")
    await hours.admin("deleteSchedule", **where, scheduleId=gone)
    await hours.until(130)
    assert parts((await hours.account())[made]) == {
        "slots": 7,
        "fired": 7,
        "absent": {"created": 6, "updated": 1},
    }
    page = await hours.admin("account", **{"from": text(0), "to": text(120)})
    rest = await hours.admin("account", cursor=page["nextCursor"])
    (deleted,) = rest["schedules"]
    assert (deleted["scheduleId"], deleted["deletedAt"][:16]) == (gone, text(61)[:16])
    assert parts(deleted) == {"slots": 6, "fired": 6, "absent": {"created": 6, "deleted": 12}}
    assert "nextCursor" not in rest


async def test_missed_skipped_and_waiting_slots_are_told_apart(hours: Hours) -> None:
    id_ = await hours.create()
    await hours.until(60)
    hours.clock.now = START + 88 * MINUTE
    await hours.until(101)
    await hours.pool.execute(
        "UPDATE ext_scheduler.runs SET status = 'skipped_overlap' WHERE slot = $1",
        START + 95 * MINUTE,
    )
    hours.clock.now = START + 130 * MINUTE
    row = (await hours.account())[id_]
    assert parts(row) == {"slots": 24, "fired": 15, "missed": 4, "skipped": {"overlap": 1}}
    assert (row["waiting"], row["unaccounted"]) == (4, 0)


async def test_pages_of_all_tenants_keep_the_window_and_end(hours: Hours) -> None:
    made = {await hours.create() for _ in range(3)}
    await hours.until(70)
    page = await hours.operator("account", limit=2)
    windows, found = {(page["from"], page["to"])}, [row["scheduleId"] for row in page["schedules"]]
    while "nextCursor" in page:
        hours.clock.now += MINUTE
        page = await hours.operator("account", limit=2, cursor=page["nextCursor"])
        windows.add((page["from"], page["to"]))
        found += [row["scheduleId"] for row in page["schedules"]]
    assert (set(found), len(found), len(windows)) == (made, 3, 1)
    until = hours.clock.now  # the default is what is surely planned
    assert datetime.fromisoformat(next(iter(windows))[1]) < until - SETTLED_AFTER


@pytest.mark.parametrize(
    ("fields", "member"),
    [
        ({"from": text(60), "to": text(0)}, "to"),
        ({"from": "2026-01-01T00:00:00Z"}, "to"),
        ({"from": "yesterday"}, "from"),
        ({"cursor": "W10"}, "cursor"),
    ],
)
async def test_a_window_that_cannot_be_is_a_field_error(
    hours: Hours, fields: dict[str, Any], member: str
) -> None:
    answer = await hours.admin("account", **fields)
    assert answer["code"] == "VALIDATION_FAILED"
    assert list(answer["fieldErrors"]) == [member]


async def test_one_worker_accounts_for_the_hour_and_every_worker_shows_the_result(
    hours: Hours,
) -> None:
    id_ = await hours.create()
    await hours.until(70)
    await hours.pool.execute("DELETE FROM ext_scheduler.runs WHERE slot = $1", START + 45 * MINUTE)
    first = await slot_audit.run(hours.pool, hours.clock)
    assert first is not None
    assert (first.schedules, first.slots, first.unaccounted) == (1, 12, 1)
    assert await slot_audit.run(hours.pool, hours.clock) is None, "the hour is done"
    metrics = Metrics()
    await Maintenance(hours.pool, metrics, now=hours.clock).measure()
    name = "extension_scheduler_unaccounted_slots"
    assert metrics.registry.get_sample_value(name) == 1
    await hours.until(140)
    second = await slot_audit.run(hours.pool, hours.clock)
    assert second is not None
    assert (second.slots, second.unaccounted) == (14, 0)
    assert second.until - first.until == 70 * MINUTE
    assert id_


async def test_no_other_worker_accounts_meanwhile(hours: Hours) -> None:
    await hours.create()
    await hours.until(70)
    async with hours.pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", slot_audit.LOCK_KEY)
        assert await slot_audit.run(hours.pool, hours.clock) is None
    assert await slot_audit.run(hours.pool, hours.clock) is not None


async def test_an_imported_schedule_that_was_deleted_is_accounted_for(hours: Hours) -> None:
    await hours.create(name="nightly")
    document = (await hours.admin("exportTenant", tenantId="acme"))["document"]
    document["extensions"][0]["schedules"][0]["name"] = "copy"
    await hours.until(31)
    await hours.admin("importTenant", tenantId="acme", document=document)
    rows = (await hours.admin("listSchedules"))["schedules"]
    (copy,) = [row["id"] for row in rows if row["name"] == "copy"]
    await hours.until(61)
    await hours.admin("deleteSchedule", installId=hours.install_id, scheduleId=copy)
    await hours.until(130)
    page = await hours.admin("account", **{"from": text(0), "to": text(120)})
    (deleted,) = (await hours.admin("account", cursor=page["nextCursor"]))["schedules"]
    assert parts(deleted) == {"slots": 6, "fired": 6, "absent": {"created": 6, "deleted": 12}}


async def test_entries_of_one_instant_begin_with_the_creation(hours: Hours) -> None:
    await hours.until(31)
    made = [await hours.create() for _ in range(8)]
    await hours.admin("disableSchedules", installId=hours.install_id)
    await hours.until(130)
    accounts = await hours.account()
    for id_ in made:
        found = {"slots": 18, "swallowed": {"schedule_disabled": 18}, "absent": {"created": 6}}
        assert parts(accounts[id_]) == found


async def test_slots_that_came_up_again_after_the_clock_was_set_back_are_accounted_for(
    hours: Hours,
) -> None:
    id_ = await hours.create()
    await hours.until(61)
    hours.clock.now = START + 32 * MINUTE
    await hours.until(130)
    found = (await hours.account())[id_]
    assert (found["slots"], found["fired"], found["unaccounted"]) == (24, 24, 0)


async def test_the_later_of_two_changes_counts_although_its_time_is_the_earlier_one(
    hours: Hours,
) -> None:
    id_ = await hours.create()
    where = {"installId": hours.install_id, "scheduleId": id_}
    await hours.until(61)
    await hours.change(**where, cron="1-59/5 * * * *")
    hours.clock.now = START + 32 * MINUTE
    await hours.change(**where, cron="2-59/5 * * * *")
    await hours.until(130)
    assert (await hours.account())[id_]["unaccounted"] == 0


@pytest.mark.parametrize(
    ("op", "on", "off"),
    [
        ("setTenantPaused", {"paused": False}, {"paused": True}),
        ("setInstallEnabled", {"enabled": True}, {"enabled": False}),
        ("updateSchedule", {"enabled": True}, {"enabled": False}),
    ],
)
async def test_what_was_switched_off_again_is_off_although_its_time_is_the_earlier_one(
    hours: Hours, op: str, on: dict[str, bool], off: dict[str, bool]
) -> None:
    id_ = await hours.create()
    where = {
        "setTenantPaused": {"tenantId": "acme"},
        "setInstallEnabled": {"installId": hours.install_id},
        "updateSchedule": {"installId": hours.install_id, "scheduleId": id_},
    }[op]
    await hours.until(21)
    await hours.admin(op, **where, **off)
    await hours.until(61)
    await hours.admin(op, **where, **on)
    hours.clock.now = START + 32 * MINUTE
    await hours.admin(op, **where, **off)
    await hours.until(130)
    found = (await hours.account())[id_]
    assert found["unaccounted"] == 0
    assert sum(found["swallowed"].values()) > 12


@pytest.mark.parametrize(
    ("change", "absent"),
    [
        ({}, {"deleted": 12}),
        ({"enabled": False}, {"deleted": 12}),
        ({"cron": "1-59/5 * * * *"}, {"deleted": 17}),
    ],
)
async def test_a_deletion_counts_although_what_was_before_it_has_a_later_time(
    hours: Hours, change: dict[str, Any], absent: dict[str, int]
) -> None:
    where = {"installId": hours.install_id, "scheduleId": await hours.create()}
    await hours.until(61)
    if change:
        await hours.change(**where, **change)
    hours.clock.now = START + 32 * MINUTE
    await hours.admin("deleteSchedule", **where)
    await hours.until(130)
    page = await hours.admin("account", **{"from": text(0), "to": text(120)})
    (found,) = (await hours.admin("account", cursor=page["nextCursor"]))["schedules"]
    assert found["deletedAt"][:16] == text(32)[:16]
    # Up to minute 60, before the clock was set back, all had fired.
    assert {**parts(found), "absent": found["absent"]["deleted"]} == {
        "slots": 12,
        "fired": 12,
        "absent": absent["deleted"],
    }


async def test_what_a_declaration_prunes_is_deleted_where_it_was_made_and_changed_by_one(
    hours: Hours,
) -> None:
    async def apply(*schedules: dict[str, Any]) -> None:
        declared = {"publisher": "acme", "name": "demo", "schedules": list(schedules)}
        answer = await hours.admin(
            "applySchedules", tenantId="acme", installs=[declared], prune=True
        )
        assert answer["success"] is True

    await hours.until(31)
    await apply({"name": "nightly", **OFTEN})
    await hours.until(61)
    await apply({"name": "nightly", **OFTEN, "cron": "1-59/5 * * * *", "timezone": "Asia/Tokyo"})
    hours.clock.now = START + 52 * MINUTE
    await apply()
    await hours.until(130)
    page = await hours.admin("account", **{"from": text(0), "to": text(120)})
    (deleted,) = (await hours.admin("account", cursor=page["nextCursor"]))["schedules"]
    assert deleted["deletedAt"][:16] == text(52)[:16]
    assert (deleted["slots"], deleted["fired"]) == (6, 6)


async def test_a_change_that_was_changed_again_at_an_earlier_time_is_no_part_of_the_account(
    hours: Hours,
) -> None:
    where = {"installId": hours.install_id, "scheduleId": await hours.create()}
    await hours.until(61)
    await hours.admin("updateSchedule", **where, cron="1-59/2 * * * *")
    hours.clock.now = START + 32 * MINUTE
    await hours.admin("updateSchedule", **where, cron="2-59/5 * * * *")
    await hours.until(90)
    await hours.admin("updateSchedule", **where, cron="3-59/5 * * * *")
    await hours.until(130)
    assert (await hours.account())[where["scheduleId"]]["unaccounted"] == 0
    later = {"from": text(65), "to": text(120)}
    assert (await hours.account(**later))[where["scheduleId"]]["unaccounted"] == 0
    lost = START + 77 * MINUTE
    await hours.pool.execute("DELETE FROM ext_scheduler.runs WHERE slot = $1", lost)
    for window in ({}, later):
        assert (await hours.account(**window))[where["scheduleId"]]["unaccounted"] == 1


@pytest.mark.parametrize(
    ("op", "on", "off"),
    [
        ("setTenantPaused", {"paused": False}, {"paused": True}),
        ("setInstallEnabled", {"enabled": True}, {"enabled": False}),
        ("updateSchedule", {"enabled": True}, {"enabled": False}),
    ],
)
async def test_what_was_switched_on_again_at_an_earlier_time_excuses_no_lost_slot(
    hours: Hours, op: str, on: dict[str, bool], off: dict[str, bool]
) -> None:
    id_ = await hours.create()
    where = {
        "setTenantPaused": {"tenantId": "acme"},
        "setInstallEnabled": {"installId": hours.install_id},
        "updateSchedule": {"installId": hours.install_id, "scheduleId": id_},
    }[op]
    await hours.until(61)
    await hours.admin(op, **where, **off)
    hours.clock.now = START + 32 * MINUTE
    await hours.admin(op, **where, **on)
    await hours.until(91)
    await hours.admin(op, **where, **off)
    await hours.until(101)
    await hours.admin(op, **where, **on)
    await hours.until(130)
    await hours.pool.execute("DELETE FROM ext_scheduler.runs WHERE slot = $1", START + 75 * MINUTE)
    for after in (0, 65):
        window = {"from": text(after), "to": text(120)}
        found = (await hours.account(**window))[id_]
        assert (found["unaccounted"], sum(found["swallowed"].values())) == (1, 2)

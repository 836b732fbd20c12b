"""A clock that was a year ahead for a moment: what it left behind is repaired, everywhere."""

from datetime import datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest
from msgspec import Struct

from service.rules.limits import Limits
from service.rules.outcomes import FailureRules
from service.rules.planning import SlotCache
from service.storage.runs import results
from service.storage.runs.attempts import RunRecord
from service.storage.runs.updates import RunUpdate
from service.worker.maintenance import MaintenanceSettings, RepairReport, repair
from service.worker.planner import PlannerSettings, plan_due
from tests.support.admin import Admin, register
from tests.support.host import dispatcher

YEAR = timedelta(days=365)


class Setting(Struct, frozen=True):
    pool: asyncpg.Pool
    admin: Admin
    install_id: str
    schedule_id: str

    async def jump(self) -> None:
        """Plan one round with a clock that is a year ahead."""
        async with self.pool.acquire() as connection:
            ahead = await connection.fetchval("SELECT now()") + YEAR
            assert (await plan_due(connection, ahead, PlannerSettings(), SlotCache())).timers == 1
        assert await self.due_in() > timedelta(days=300)

    async def due_in(self) -> timedelta:
        """Return how long until the timer is due."""
        left: timedelta = await self.pool.fetchval(
            "SELECT due_at - now() FROM ext_scheduler.timers"
        )
        return left

    async def repair(self) -> RepairReport:
        """Run the repair of a worker."""
        async with self.pool.acquire() as connection:
            now = await connection.fetchval("SELECT now()")
            return await repair(connection, now, MaintenanceSettings(), SlotCache())


@pytest.fixture
async def setting(pool: asyncpg.Pool) -> Setting:
    """Return a schedule of every hour."""
    admin = Admin(dispatcher(pool, Limits(changes_per_minute=1_000)))
    registered = await register(admin)
    body = {"installId": registered["installId"], "endpoint": "/a", "cron": "0 * * * *"}
    created = await admin("createSchedule", **body)
    return Setting(pool, admin, registered["installId"], created["scheduleId"])


async def test_a_workers_repair_computes_the_timer_again(setting: Setting) -> None:
    await setting.jump()
    assert (await setting.repair()).timers_recomputed == 1
    assert await setting.due_in() <= timedelta(hours=1)
    assert await setting.repair() == RepairReport()


async def test_reconcile_reports_and_repairs_it(setting: Setting) -> None:
    await setting.jump()
    found = {
        "kind": "stale_timer",
        "found": 1,
        "repaired": 0,
        "examples": [setting.schedule_id],
    }
    assert (await setting.admin("reconcile", dryRun=True))["inconsistencies"] == [found]
    assert await setting.due_in() > timedelta(days=300)
    repaired = (await setting.admin("reconcile"))["inconsistencies"]
    assert repaired == [{**found, "repaired": 1}]
    assert await setting.due_in() <= timedelta(hours=1)
    assert "inconsistencies" not in await setting.admin("reconcile")
    entry = (await setting.admin("auditLog"))["entries"][0]
    assert (entry["op"], entry["changes"]) == ("reconcile", {"stale_timer": 1})


@pytest.mark.parametrize("body", [{"cron": "0 * * * *"}, {"enabled": True}, {"timezone": "UTC"}])
async def test_an_update_with_equal_values_computes_it_again(
    setting: Setting, body: dict[str, object]
) -> None:
    await setting.jump()
    answer = await setting.admin(
        "updateSchedule", installId=setting.install_id, scheduleId=setting.schedule_id, **body
    )
    assert answer == {"success": True}
    assert await setting.due_in() <= timedelta(hours=1)


async def test_resuming_and_enabling_compute_it_again(setting: Setting) -> None:
    install = {"installId": setting.install_id}
    await setting.admin("setInstallEnabled", **install, enabled=False)
    await setting.jump()
    await setting.admin("setInstallEnabled", **install, enabled=True)
    assert await setting.due_in() <= timedelta(hours=1)
    await setting.admin("setTenantPaused", tenantId="tenant-1", paused=True)
    await setting.jump()
    await setting.admin("setTenantPaused", tenantId="tenant-1", paused=False)
    assert await setting.due_in() <= timedelta(hours=1)


async def test_a_timer_of_an_expression_that_others_changed_is_computed_again(
    setting: Setting,
) -> None:
    await setting.pool.execute(
        "UPDATE tenant_extension_schedule SET cron = '*/5 * * * *', timezone = NULL"
    )
    await setting.pool.execute(
        "UPDATE ext_scheduler.timers SET due_at = now() + interval '50 minutes'"
    )
    assert (await setting.repair()).timers_recomputed == 1
    assert await setting.due_in() <= timedelta(minutes=5)
    await setting.pool.execute("UPDATE tenant_extension_schedule SET cron = 'nonsense'")
    assert (await setting.repair()).timers_recomputed == 0


async def test_a_due_timer_is_left_to_the_planner(setting: Setting) -> None:
    await setting.pool.execute(
        "UPDATE ext_scheduler.timers SET due_at = now() - interval '1 minute', cron = '1 1 1 1 *'"
    )
    assert await setting.repair() == RepairReport()


async def test_a_last_run_of_the_future_does_not_freeze_the_last_run_fields(
    setting: Setting,
) -> None:
    async with setting.pool.acquire() as connection:
        now: datetime = await connection.fetchval("SELECT date_trunc('minute', now())")
        for slot, error in ((now + YEAR, "ahead"), (now, "now"), (now - timedelta(hours=1), "old")):
            await results.record(connection, [update(setting, slot, error)], now, FailureRules())
        row = await connection.fetchrow("SELECT * FROM tenant_extension_schedule")
    assert row is not None
    assert (row["last_error"], row["last_run_slot"]) == ("now", now)


def update(setting: Setting, slot: datetime, error: str) -> RunUpdate:
    """Return the end of a run at a slot, with this error."""
    run = RunRecord(
        tenant_id="tenant-1",
        id=uuid4(),
        slot=slot,
        install_id=UUID(setting.install_id),
        schedule_id=UUID(setting.schedule_id),
        kind="scheduled",
        trigger="schedule",
        status="running",
        attempts=1,
        fence=1,
        lease_until=None,
        retry_at=None,
        next_slot=None,
        started_at=slot,
        worker=None,
        http_status=None,
        error=None,
    )
    return RunUpdate(run=run, status="error", now=slot, error=error, recorded=True)

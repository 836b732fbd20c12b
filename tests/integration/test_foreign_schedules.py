"""Rows that another job runner drives: theirs until adopted, and driven by exactly one of both."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from service.rules.planning import SlotCache
from service.storage.engine import clock
from service.worker.maintenance import MaintenanceSettings, repair
from service.worker.planner import PlannerSettings, plan_due
from tests.support.admin import Admin, operator, register
from tests.support.host import Caller
from tests.support.job_runners import Setting, make_setting
from tests.support.platform import Installed

CONFLICT = (
    False,
    "CONFLICT",
    "Schedule is driven by another job runner until it is adopted",
)


@pytest.fixture
async def setting(pool: asyncpg.Pool) -> Setting:
    return await make_setting(pool)


async def a_round(setting: Setting) -> None:
    """Run a round of a worker, a day on: plan what is due, repair what is amiss."""
    async with setting.pool.acquire() as connection:
        now = await clock.read(connection) + timedelta(days=1)
        await plan_due(connection, now, PlannerSettings(), SlotCache())
        await repair(connection, now, MaintenanceSettings(), SlotCache())


async def drivers(setting: Setting, id_: UUID) -> tuple[bool, bool]:
    """Return whether the row has a timer, and whether it has the handle of another job runner."""
    row = await setting.pool.fetchrow(
        """SELECT s.job_id, s.runner_schedule_id,
             EXISTS (SELECT FROM ext_scheduler.timers t WHERE t.schedule_id = s.id) AS timed
           FROM tenant_extension_schedule s WHERE s.id = $1""",
        id_,
    )
    assert row is not None
    ours = (id_, f"extsched:{setting.install_id}:{id_}")
    handle = (row["job_id"], row["runner_schedule_id"])
    return row["timed"], handle not in {ours, (None, None)}


async def shown(setting: Setting, id_: UUID) -> tuple[str, bool]:
    """Return who drives it, and whether it has a next run, as administrators see it."""
    info = (await setting.admin("getSchedule", scheduleId=str(id_)))["schedule"]
    return info["drivenBy"], info["nextRunAt"] is not None


def result(answer: dict[str, Any]) -> tuple[Any, ...]:
    return answer.get("success"), answer.get("code"), answer.get("error")


async def created(setting: Setting, **fields: Any) -> UUID:
    body = {"installId": str(setting.install_id), "endpoint": "/a", "cron": "0 * * * *", **fields}
    return UUID((await setting.admin("createSchedule", **body))["scheduleId"])


async def test_rows_of_another_job_runner_get_no_timer(setting: Setting) -> None:
    """Neither from a worker's repair nor from a reconciliation."""
    boss = await setting.foreign()
    temporal = await setting.foreign(runner_schedule_id="temporal-1", job_id=None)
    before = await setting.pool.fetch("SELECT * FROM tenant_extension_schedule ORDER BY id")
    await a_round(setting)
    assert await setting.admin("reconcile") == {"success": True}
    assert await setting.pool.fetch("SELECT * FROM tenant_extension_schedule ORDER BY id") == before
    assert await setting.timers() == set()
    listed = (await setting.admin("listSchedules"))["schedules"]
    assert {each["id"]: each["drivenBy"] for each in listed} == {
        str(boss): "other",
        str(temporal): "other",
    }


async def test_rows_without_any_handle_are_taken_over(setting: Setting) -> None:
    id_ = await setting.unowned()
    await a_round(setting)
    assert await drivers(setting, id_) == (True, False)
    assert await shown(setting, id_) == ("scheduler", True)


async def test_a_row_of_another_job_runner_is_changed_only_when_adopted(setting: Setting) -> None:
    id_ = await setting.foreign(cron="0 3 * * *")
    names = {"installId": str(setting.install_id), "scheduleId": str(id_)}
    assert result(await setting.admin("updateSchedule", **names, name="x")) == CONFLICT
    assert result(await setting.admin("deleteSchedule", **names)) == CONFLICT
    wrong = await setting.admin("deleteSchedule", **names, adopt="yes")
    assert list(wrong["fieldErrors"]) == ["adopt"]
    row = await setting.pool.fetchrow("SELECT * FROM tenant_extension_install")
    assert row is not None
    installed = Installed("tenant-1", row["id"], row["registry_id"], row["version_id"])
    host = Caller(setting.admin.dispatcher, installed)
    for op, fields in (("update", {"cron": "0 4 * * *"}), ("delete", {})):
        assert result(await host(op, scheduleId=str(id_), **fields)) == CONFLICT
    assert (await host("get", scheduleId=str(id_)))["schedule"]["nextRunAt"] is None
    assert await drivers(setting, id_) == (False, True)
    job_id = await setting.pool.fetchval("SELECT job_id FROM tenant_extension_schedule")
    assert (await setting.admin("updateSchedule", **names, name="x", adopt=True))["success"]
    assert await drivers(setting, id_) == (True, False)
    (entry,) = (await setting.admin("auditLog", limit=1))["entries"]
    assert entry["changes"]["formerJobId"] == str(job_id)
    other = await setting.foreign()
    names["scheduleId"] = str(other)
    assert (await setting.admin("deleteSchedule", **names, adopt=True))["success"]


async def test_bulk_changes_leave_or_report_rows_of_another_job_runner(setting: Setting) -> None:
    ours, theirs = await created(setting), await setting.foreign(runner_schedule_id="temporal-1")
    body = {"installId": str(setting.install_id)}
    answer = await setting.admin("disableSchedules", **body)
    assert answer["disabled"] == 1
    assert [each["scheduleId"] for each in answer["drivenByOther"]] == [str(theirs)]
    assert await drivers(setting, theirs) == (False, True)
    assert await drivers(setting, ours) == (False, False)
    removed = await setting.admin("uninstall", **body)
    assert (removed["schedulesRemoved"], removed["handlesInAll"]) == (2, 1)
    assert [each["runnerScheduleId"] for each in removed["handles"]] == ["temporal-1"]


async def test_purging_reports_the_handles_of_another_job_runner(setting: Setting) -> None:
    theirs = await setting.foreign()
    removed = await setting.admin("purgeTenant", tenantId="tenant-1")
    assert [each["scheduleId"] for each in removed["handles"]] == [str(theirs)]


async def test_an_update_is_refused_while_another_job_runner_fires_what_it_would_lose(
    setting: Setting,
) -> None:
    await register(setting.admin, "2.0.0", "/b")
    id_ = await setting.foreign()
    body = {
        "installId": str(setting.install_id),
        "version": "2.0.0",
        "disableMissingSchedules": True,
    }
    answer = await setting.admin("updateInstall", **body)
    assert answer["code"] == "SCHEDULE_REMAP_FAILED"
    assert "adopt" in answer["error"]
    await setting.admin("adopt")
    assert (await setting.admin("updateInstall", **body))["success"]
    assert await drivers(setting, id_) == (False, False)


async def test_adopt_lists_the_handles_that_are_still_there(setting: Setting) -> None:
    temporal = await setting.foreign(runner_schedule_id="temporal-1", job_id=None)
    off = await setting.foreign(runner_schedule_id="temporal-2", job_id=None, enabled=False)
    dry = await setting.admin("adopt", dryRun=True)
    assert await setting.timers() == set()
    answer = await setting.admin("adopt")
    assert answer == dry
    assert {each["scheduleId"]: each["runnerScheduleId"] for each in answer["handles"]} == {
        str(temporal): "temporal-1",
        str(off): "temporal-2",
    }
    assert await setting.timers() == {temporal}
    assert await drivers(setting, off) == (False, False)
    (entry,) = (await setting.admin("auditLog", limit=1))["entries"]
    assert {each["runnerScheduleId"] for each in entry["changes"]["handles"]} == {
        "temporal-1",
        "temporal-2",
    }


async def test_a_released_row_is_left_until_it_is_adopted_again(setting: Setting) -> None:
    id_, kept = await created(setting), await created(setting)
    body = {"scheduleId": str(id_)}
    assert (await setting.admin("release", **body, dryRun=True))["released"] == 1
    assert await drivers(setting, id_) == (True, False)
    assert (await setting.admin("release", **body))["released"] == 1
    assert (await setting.admin("release", **body))["released"] == 0
    await a_round(setting)
    await setting.admin("reconcile")
    assert await drivers(setting, id_) == (False, False)
    assert await shown(setting, id_) == ("other", False)
    assert await shown(setting, kept) == ("scheduler", True)
    # The platform gives an enabled row without a job one of its own.
    await setting.pool.execute(
        "UPDATE tenant_extension_schedule SET job_id = $2 WHERE id = $1", id_, uuid4()
    )
    await a_round(setting)
    assert await drivers(setting, id_) == (False, True)
    assert (await setting.admin("adopt"))["adopted"] == 1
    assert await drivers(setting, id_) == (True, False)
    assert await shown(setting, id_) == ("scheduler", True)


async def test_releases_are_bounded_by_the_tenant(setting: Setting) -> None:
    id_ = await created(setting)
    other = Admin(setting.admin.dispatcher, tenant_id="tenant-2")
    for elsewhere in (
        {"scheduleId": str(id_)},
        {"scheduleId": str(uuid4())},
        {"installId": str(setting.install_id)},
    ):
        assert (await other("release", **elsewhere))["code"] == "NOT_FOUND"
        assert (await other("release", **elsewhere, dryRun=True))["code"] == "NOT_FOUND"
    assert await drivers(setting, id_) == (True, False)
    everybody = operator(setting.admin.dispatcher)
    assert (await everybody("release", tenantId="tenant-1"))["released"] == 1
    (entry,) = (await setting.admin("auditLog", limit=1))["entries"]
    assert (entry["op"], entry["changes"]) == ("release", {"released": [str(id_)]})


OFF = """
UPDATE tenant_extension_schedule
SET enabled = false, job_id = NULL, runner_schedule_id = NULL, updated_at = now() WHERE id = $1
"""
ON = """
UPDATE tenant_extension_schedule SET enabled = true, updated_at = now() WHERE id = $1
"""
OWN_JOB = """
UPDATE tenant_extension_schedule
SET job_id = gen_random_uuid(), runner_schedule_id = 'extsched:' || install_id || ':' || id,
  updated_at = now()
WHERE id = $1
"""
CRON = """
UPDATE tenant_extension_schedule SET cron = '30 4 * * *', updated_at = now() WHERE id = $1
"""
CANCELLED = """
UPDATE tenant_extension_schedule
SET job_id = NULL, runner_schedule_id = NULL, updated_at = now() WHERE id = $1
"""


@pytest.mark.parametrize(
    ("statements", "expected"),
    [
        # No job runner drives it: it is off.
        ([OFF], (False, False)),
        # On again, with the platform's own job: the platform's.
        ([OFF, ON, OWN_JOB], (False, True)),
        # On again, and the platform stopped before it made its job: ours.
        ([OFF, ON], (True, False)),
        # A change of cron in place: still ours, with the new expression.
        ([CRON], (True, False)),
        # A change of cron that gives the row another job.
        ([CRON, OWN_JOB], (False, True)),
        # A change of cron that stopped between cancelling and making its job.
        ([CRON, CANCELLED], (True, False)),
    ],
)
async def test_the_platforms_own_writes_end_with_one_driver(
    setting: Setting, statements: list[str], expected: tuple[bool, bool]
) -> None:
    """Also with a worker's round after each statement, as slow as the platform may be."""
    for rounds_between in (False, True):
        id_ = await created(setting)
        for statement in statements:
            await setting.pool.execute(statement, id_)
            if rounds_between:
                await a_round(setting)
        await a_round(setting)
        assert await drivers(setting, id_) == expected
        timer = "SELECT cron FROM ext_scheduler.timers WHERE schedule_id = $1"
        cron = "SELECT cron FROM tenant_extension_schedule WHERE id = $1"
        if expected[0]:
            assert await setting.pool.fetchval(timer, id_) == await setting.pool.fetchval(cron, id_)


async def test_the_platforms_remap_keeps_the_driver(setting: Setting) -> None:
    id_, theirs = await created(setting), await setting.foreign()
    await register(setting.admin, "2.0.0", "/a")
    await setting.pool.execute(
        """UPDATE tenant_extension_install SET version_id =
             (SELECT id FROM extension_version WHERE version = '2.0.0')"""
    )
    await setting.pool.execute(
        """UPDATE tenant_extension_schedule SET endpoint_id = (
             SELECT e.id FROM extension_api_endpoint e JOIN extension_version v
               ON v.id = e.version_id AND v.version = '2.0.0'), updated_at = now()"""
    )
    await a_round(setting)
    assert await drivers(setting, id_) == (True, False)
    assert await drivers(setting, theirs) == (False, True)


@pytest.mark.parametrize("statement", ["schedule", "install"])
async def test_the_platforms_removals_leave_no_timer(setting: Setting, statement: str) -> None:
    id_ = await created(setting)
    await setting.pool.execute("DELETE FROM tenant_extension_schedule WHERE id = $1", id_)
    if statement == "install":
        await setting.pool.execute("DELETE FROM tenant_extension_install")
    await a_round(setting)
    assert await setting.timers() == set()

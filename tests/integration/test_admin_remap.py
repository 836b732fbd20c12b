"""``updateInstall``: all match, blocked, disabled where missing; dry run, and back again."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from service.rules.limits import Limits
from service.storage.engine import clock
from service.storage.runs.occurrences import Occurrence, plan
from service.storage.runs.queue import JobPayload
from service.worker.firing import FiringSettings
from service.worker.firing.attempt import ClaimedAttempt
from service.worker.firing.attempt_store import AttemptStore
from tests.support.admin import Admin, register
from tests.support.host import Caller, dispatcher
from tests.support.platform import Installed

DAILY = "0 9 * * *"
GONE = "Disabled due to missing endpoint on extension update"


class Remapping:
    """An install of a version with /a and /b, and a version known that has only /a, and one /c."""

    def __init__(self, admin: Admin, host: Caller, versions: dict[str, str]) -> None:
        self.admin = admin
        self.host = host
        self.versions = versions

    @property
    def install_id(self) -> str:
        return str(self.host.installed.install_id)

    async def update(self, version: str, **body: Any) -> dict[str, Any]:
        return await self.admin("updateInstall", installId=self.install_id, version=version, **body)

    async def create(self, path: str, **body: Any) -> str:
        created = await self.host("create", endpoint=path, cron=DAILY, **body)
        assert created["success"], created
        return str(created["scheduleId"])

    async def shown(self, schedule_id: str) -> dict[str, Any]:
        answer = await self.admin("getSchedule", scheduleId=schedule_id)
        schedule: dict[str, Any] = answer["schedule"]
        return schedule


@pytest.fixture
async def remapping(pool: asyncpg.Pool) -> Remapping:
    admin = Admin(dispatcher(pool, Limits(changes_per_minute=1_000)))
    first = await register(admin, "1.0.0", "/a", "/b")
    others = {
        version: (await register(admin, version, *paths))["versionId"]
        for version, paths in {"2.0.0": ("/a",), "3.0.0": ("a", "//b", "/c")}.items()
    }
    installed = Installed(
        "tenant-1",
        UUID(first["installId"]),
        UUID(first["registryId"]),
        UUID(first["versionId"]),
    )
    return Remapping(
        admin, Caller(admin.dispatcher, installed), {"1.0.0": first["versionId"], **others}
    )


async def version_of(pool: asyncpg.Pool) -> str:
    return str(await pool.fetchval("SELECT version_id FROM tenant_extension_install"))


async def everything(pool: asyncpg.Pool) -> list[Any]:
    return [
        await pool.fetch(f"SELECT * FROM {table} ORDER BY 1, 2")
        for table in (
            "tenant_extension_install",
            "tenant_extension_schedule",
            "extension_api_endpoint",
            "ext_scheduler.timers",
            "ext_scheduler.audit",
            "ext_scheduler.outbox",
            "ext_scheduler.idempotency",
        )
    ]


async def test_each_schedule_gets_its_new_endpoint_if_all_match(
    remapping: Remapping, pool: asyncpg.Pool
) -> None:
    on_a, on_b = await remapping.create("/a", name="first"), await remapping.create("/b")
    before = await remapping.shown(on_a)
    answer = await remapping.update("3.0.0")
    assert answer["success"] is True
    assert answer["remapped"] == [
        {"scheduleId": on_a, "name": "first", "method": "POST", "path": "/a"},
        {"scheduleId": on_b, "name": None, "method": "POST", "path": "/b"},
    ]
    after = await remapping.shown(on_a)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"endpointId"}
    assert await version_of(pool) == remapping.versions["3.0.0"]
    owner = "SELECT version_id FROM extension_api_endpoint WHERE id = $1"
    assert (
        str(await pool.fetchval(owner, UUID(after["endpointId"]))) == (remapping.versions["3.0.0"])
    )


async def test_a_missing_endpoint_blocks_and_changes_nothing(
    remapping: Remapping, pool: asyncpg.Pool
) -> None:
    await remapping.create("/a")
    on_b = await remapping.create("/b", name="lost")
    before = await everything(pool)
    answer = await remapping.update("2.0.0")
    assert answer == {
        "success": False,
        "code": "SCHEDULE_REMAP_FAILED",
        "error": "1 schedule has no endpoint in version 2.0.0",
        "missing": [{"scheduleId": on_b, "name": "lost", "method": "POST", "path": "/b"}],
    }
    assert await everything(pool) == before


async def test_a_dry_run_reports_and_changes_nothing(
    remapping: Remapping, pool: asyncpg.Pool
) -> None:
    on_a, on_b = await remapping.create("/a"), await remapping.create("/b")
    before = await everything(pool)
    for override in (False, True):
        answer = await remapping.update("2.0.0", dryRun=True, disableMissingSchedules=override)
        assert answer["success"] is True
        assert [each["scheduleId"] for each in answer["remapped"]] == [on_a]
        assert [each["scheduleId"] for each in answer["missing"]] == [on_b]
    assert await everything(pool) == before


async def test_schedules_without_endpoint_are_disabled_until_it_exists_again(
    remapping: Remapping, pool: asyncpg.Pool
) -> None:
    on_a, on_b = await remapping.create("/a"), await remapping.create("/b")
    off = await remapping.create("/b", enabled=False)
    answer = await remapping.update("2.0.0", disableMissingSchedules=True)
    assert answer["success"] is True
    assert {each["scheduleId"] for each in answer["missing"]} == {on_b, off}
    lost = await remapping.shown(on_b)
    assert (lost["enabled"], lost["lastError"], lost["nextRunAt"]) == (False, GONE, None)
    assert (await remapping.shown(on_a))["enabled"] is True
    assert (await remapping.shown(off))["lastError"] is None
    assert await pool.fetchval("SELECT count(*) FROM ext_scheduler.timers") == 1
    events = await pool.fetch("SELECT type, schedule_id::text FROM ext_scheduler.outbox")
    assert ("schedule.disabled", on_b) in {tuple(row) for row in events}
    back = await remapping.update("1.0.0")
    assert [each["scheduleId"] for each in back["reenabled"]] == [on_b]
    again = await remapping.shown(on_b)
    assert (again["enabled"], again["lastError"]) == (True, None)
    assert again["nextRunAt"] is not None
    assert again["runnerScheduleId"] == f"extsched:{remapping.install_id}:{on_b}"
    assert (await remapping.shown(off))["enabled"] is False
    assert await version_of(pool) == remapping.versions["1.0.0"]


async def test_an_update_to_the_installed_version_changes_nothing(
    remapping: Remapping, pool: asyncpg.Pool
) -> None:
    await remapping.create("/a")
    await remapping.create("/b", enabled=False)
    await remapping.update("2.0.0", disableMissingSchedules=True)
    before = await everything(pool)
    answer = await remapping.update("2.0.0", disableMissingSchedules=True)
    assert (answer["success"], len(answer["remapped"]), len(answer["missing"])) == (True, 1, 1)
    assert await everything(pool) == before


async def test_a_later_version_with_the_endpoint_reenables_its_schedule(
    remapping: Remapping,
) -> None:
    on_b = await remapping.create("/b")
    await remapping.update("2.0.0", disableMissingSchedules=True)
    answer = await remapping.update("3.0.0")
    assert [each["scheduleId"] for each in answer["reenabled"]] == [on_b]
    assert (await remapping.shown(on_b))["enabled"] is True


async def test_a_marked_schedule_does_not_block_the_next_update(remapping: Remapping) -> None:
    on_b = await remapping.create("/b")
    await remapping.update("2.0.0", disableMissingSchedules=True)
    answer = await remapping.update("2.0.0")
    assert answer["success"] is True
    assert [each["scheduleId"] for each in answer["missing"]] == [on_b]


async def test_setting_enabled_clears_the_missing_endpoint_mark(remapping: Remapping) -> None:
    on_b = await remapping.create("/b")
    await remapping.update("2.0.0", disableMissingSchedules=True)
    refused = await remapping.host("update", scheduleId=on_b, enabled=True)
    assert refused["fieldErrors"] == {"endpoint": "Endpoint not found or not schedulable"}
    await remapping.host("update", scheduleId=on_b, enabled=False)
    answer = await remapping.update("1.0.0")
    assert "reenabled" not in answer
    assert (await remapping.shown(on_b))["enabled"] is False


@pytest.mark.parametrize("changed", [{"cron": "0 10 * * *"}, {"endpoint": "/a"}])
async def test_other_updates_keep_the_missing_endpoint_mark(
    remapping: Remapping, changed: dict[str, str]
) -> None:
    on_b = await remapping.create("/b")
    await remapping.update("2.0.0", disableMissingSchedules=True)
    assert (await remapping.host("update", scheduleId=on_b, **changed))["success"]
    assert (await remapping.shown(on_b))["enabled"] is False
    await remapping.update("1.0.0")
    shown = await remapping.shown(on_b)
    assert shown["enabled"] is True
    assert shown["cron"] == changed.get("cron", DAILY)
    assert shown["endpointPath"] == changed.get("endpoint", "/b")
    assert shown["nextRunAt"] is not None


async def test_an_endpoint_that_is_no_longer_schedulable_counts_as_missing(
    remapping: Remapping, pool: asyncpg.Pool
) -> None:
    await remapping.create("/a")
    await pool.execute(
        "UPDATE extension_version SET api_endpoints = $1 WHERE version = '3.0.0'",
        '[{"method": "POST", "path": "/a", "handler": "h", "schedulable": false}]',
    )
    assert (await remapping.update("3.0.0"))["code"] == "SCHEDULE_REMAP_FAILED"


async def test_a_version_is_named_in_one_way(remapping: Remapping) -> None:
    answer = await remapping.admin("updateInstall", installId=remapping.install_id)
    assert answer["fieldErrors"] == {"version": "Required"}
    answer = await remapping.update("2.0.0", versionId=remapping.versions["2.0.0"])
    assert answer["fieldErrors"] == {"versionId": "Give version or versionId, not both"}
    answer = await remapping.update("9.9.9")
    assert (answer["code"], answer["error"]) == ("NOT_FOUND", "Version not found")
    answer = await remapping.admin(
        "updateInstall",
        installId=remapping.install_id,
        versionId=remapping.versions["2.0.0"],
    )
    assert answer["success"] is True


async def test_an_update_is_atomic_for_concurrent_changes(
    remapping: Remapping, pool: asyncpg.Pool
) -> None:
    kept = [await remapping.create(path) for path in ("/a", "/b", "/a")]

    async def change(number: int) -> None:
        await remapping.host("create", endpoint="/b", cron=DAILY)
        await remapping.host("update", scheduleId=kept[number % 3], enabled=number % 2 == 0)

    async def move() -> None:
        for version in ("3.0.0", "1.0.0", "2.0.0", "1.0.0", "3.0.0"):
            answer = await remapping.update(version, disableMissingSchedules=True)
            assert answer["success"], answer

    await asyncio.gather(move(), *(change(number) for number in range(30)))
    mixed = await pool.fetch(
        """SELECT s.id FROM tenant_extension_schedule s
           JOIN tenant_extension_install i ON i.id = s.install_id
           JOIN extension_api_endpoint e ON e.id = s.endpoint_id
           LEFT JOIN ext_scheduler.timers t ON t.schedule_id = s.id
           WHERE e.version_id <> i.version_id OR s.enabled <> (t.schedule_id IS NOT NULL)
             OR s.enabled <> (s.job_id IS NOT NULL)"""
    )
    assert mixed == []


async def test_a_firing_sees_one_version_or_the_other(
    remapping: Remapping, pool: asyncpg.Pool
) -> None:
    schedules = [UUID(await remapping.create(path)) for path in ("/a", "/b", "/a")]
    install_id, start = remapping.host.installed.install_id, datetime(2026, 1, 1, tzinfo=UTC)
    store, attempts = AttemptStore(pool, FiringSettings(), clock.read), list[ClaimedAttempt]()

    async def fire() -> None:
        for number in range(20):
            slot = start + timedelta(minutes=number)
            due = [
                Occurrence(tenant_id="tenant-1", install_id=install_id, schedule_id=id_, slot=slot)
                for id_ in schedules
            ]
            async with pool.acquire() as connection:
                await plan(connection, due, slot)
            answers = await store.claim(
                [JobPayload("tenant-1", each.id, each.schedule_id, slot) for each in due]
            )
            attempts.extend(answer for answer in answers if isinstance(answer, ClaimedAttempt))

    async def move() -> None:
        for number in range(16):
            answer = await remapping.update("1.0.0" if number % 2 else "3.0.0")
            assert answer["success"], answer

    await asyncio.gather(fire(), move())
    assert len(attempts) > 10
    wanted = {remapping.versions["1.0.0"], remapping.versions["3.0.0"]}
    for attempt in attempts:
        invocation = attempt.invocation
        # The endpoint is looked up within the install's version: a mixture would find none.
        assert (invocation.method, invocation.path in {"/a", "/b"}) == ("POST", True)
        assert str(invocation.version_id) in wanted

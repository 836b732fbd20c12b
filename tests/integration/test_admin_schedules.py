"""Schedules, runs and entries as administrators see and change them."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from msgspec import Struct

from service.rules.limits import Limits
from service.storage.runs import occurrences
from tests.support.admin import Admin, operator, register
from tests.support.host import dispatcher, read
from tests.support.platform import counts

HOURLY = {"cron": "0 * * * *"}


class Setting(Struct, frozen=True):
    """An administrator of tenant-1, and the install registered there."""

    admin: Admin
    install_id: str

    async def create(self, **body: Any) -> str:
        created = await self.admin(
            "createSchedule",
            **{"installId": self.install_id, "endpoint": "/a", **HOURLY, **body},
        )
        assert created["success"], created
        return str(created["scheduleId"])


@pytest.fixture
async def setting(pool: asyncpg.Pool) -> Setting:
    admin = Admin(dispatcher(pool))
    registered = await register(admin, "1.0.0", "/a", "/b")
    return Setting(admin, registered["installId"])


async def test_the_host_rate_limit_does_not_apply_to_administrators(setting: Setting) -> None:
    for _ in range(12):
        await setting.create()
    page = await setting.admin("listSchedules", installId=setting.install_id)
    assert len(page["schedules"]) == 12


async def test_the_quota_applies_to_administrators(setting: Setting) -> None:
    answers = await asyncio.gather(
        *(
            setting.admin(
                "createSchedule", installId=setting.install_id, endpoint="/a", cron="0 1 * * *"
            )
            for _ in range(60)
        )
    )
    assert [answer.get("code") for answer in answers].count("QUOTA_EXCEEDED") == 10


async def test_an_endpoint_is_named_by_id_or_by_selector(setting: Setting) -> None:
    listed = await setting.admin("listEndpoints", installId=setting.install_id)
    by_path = {each["path"]: each["id"] for each in listed["endpoints"]}
    identity = await setting.create(endpoint=None, endpointId=by_path["/b"])
    shown = (await setting.admin("getSchedule", scheduleId=identity))["schedule"]
    assert (shown["endpointPath"], shown["endpointId"]) == ("/b", by_path["/b"])
    changed = await setting.admin(
        "updateSchedule",
        installId=setting.install_id,
        scheduleId=identity,
        endpointId=by_path["/a"],
    )
    assert changed == {"success": True}
    shown = (await setting.admin("getSchedule", scheduleId=identity))["schedule"]
    assert (shown["endpointPath"], shown["revision"]) == ("/a", 2)
    for body, wrong in (
        ({"endpointId": str(uuid4())}, {"endpointId": "Endpoint not found or not schedulable"}),
        ({"endpointId": "x"}, {"endpointId": "Invalid endpointId"}),
        (
            {"endpointId": by_path["/a"], "endpoint": "/a"},
            {"endpointId": "Give endpoint or endpointId, not both"},
        ),
        ({}, {"endpoint": "Required"}),
    ):
        answer = await setting.admin(
            "createSchedule", installId=setting.install_id, **HOURLY, **body
        )
        assert answer["fieldErrors"] == wrong


async def test_all_field_errors_are_reported_in_the_order_of_the_input(setting: Setting) -> None:
    await setting.create(name="taken")
    answer = await setting.admin(
        "createSchedule",
        installId=setting.install_id,
        name="taken",
        cron="* * * * *",
        endpointId=str(uuid4()),
        enabled=3,
    )
    assert list(answer["fieldErrors"]) == ["endpointId", "cron", "enabled", "name"]
    assert answer["error"] == answer["fieldErrors"]["endpointId"]
    answer = await setting.admin("createSchedule", installId="x", cron="bad")
    assert list(answer["fieldErrors"]) == ["installId", "endpoint", "cron"]
    answer = await setting.admin("deleteSchedule")
    assert answer["fieldErrors"] == {"installId": "Required", "scheduleId": "Required"}


async def test_missing_rows_are_not_found(setting: Setting) -> None:
    unknown = str(uuid4())
    identity = await setting.create()
    for op, body, error in (
        ("createSchedule", {"installId": unknown, "endpoint": "/a", **HOURLY}, "Install not found"),
        ("updateSchedule", {"installId": unknown, "scheduleId": identity}, "Install not found"),
        (
            "updateSchedule",
            {"installId": setting.install_id, "scheduleId": unknown},
            "Schedule not found",
        ),
        (
            "deleteSchedule",
            {"installId": setting.install_id, "scheduleId": unknown},
            "Schedule not found",
        ),
        ("getSchedule", {"scheduleId": unknown}, "Schedule not found"),
        ("runNow", {"scheduleId": unknown}, "Schedule not found"),
        ("listEndpoints", {"installId": unknown}, "Install not found"),
        ("uninstall", {"installId": unknown}, "Install not found"),
    ):
        answer = await setting.admin(op, **body)
        assert (answer["code"], answer["error"]) == ("NOT_FOUND", error)


async def test_null_in_an_update_clears_clearable_fields(setting: Setting) -> None:
    identity = await setting.create(name="x", payload=[1])
    body = {"installId": setting.install_id, "scheduleId": identity}
    cleared = await setting.admin("updateSchedule", **body, name=None, payload=None)
    assert cleared == {"success": True}
    shown = (await setting.admin("getSchedule", scheduleId=identity))["schedule"]
    assert (shown["name"], shown["payload"]) == (None, None)
    answer = await setting.admin("updateSchedule", **body, endpointId=None, cron=None)
    assert answer["fieldErrors"] == {
        "endpointId": "Wrong type (expected string)",
        "cron": "Wrong type (expected string)",
    }


async def test_revisions_guard_admin_updates_too(setting: Setting) -> None:
    identity = await setting.create()
    body = {"installId": setting.install_id, "scheduleId": identity, "expectedRevision": 1}
    assert (await setting.admin("updateSchedule", name="x", **body))["success"] is True
    assert (await setting.admin("updateSchedule", name="y", **body))["code"] == "CONFLICT"


async def test_a_deleted_schedule_is_not_found(setting: Setting, pool: asyncpg.Pool) -> None:
    identity = await setting.create()
    body = {"installId": setting.install_id, "scheduleId": identity}
    assert await setting.admin("deleteSchedule", **body) == {"success": True}
    tables = ("tenant_extension_schedule", "ext_scheduler.timers")
    assert await counts(pool, *tables) == dict.fromkeys(tables, 0)


async def test_schedules_are_listed_page_by_page(setting: Setting) -> None:
    made = {await setting.create(enabled=number % 2 == 0) for number in range(7)}
    seen: list[str] = []
    cursor = None
    for expected in (3, 3, 1):
        page = await setting.admin("listSchedules", limit=3, cursor=cursor)
        seen += [each["id"] for each in page["schedules"]]
        assert len(page["schedules"]) == expected
        cursor = page.get("nextCursor")
    assert (cursor, set(seen), len(seen)) == (None, made, 7)
    enabled = await setting.admin("listSchedules", enabled=True)
    assert {each["enabled"] for each in enabled["schedules"]} == {True}
    assert len(enabled["schedules"]) == 4
    everywhere = await operator(setting.admin.dispatcher)("listSchedules", limit=200)
    assert [each["tenantId"] for each in everywhere["schedules"]] == ["tenant-1"] * 7


async def test_failing_schedules_can_be_listed(setting: Setting, pool: asyncpg.Pool) -> None:
    failing = await setting.create()
    await setting.create()
    await pool.execute(
        "UPDATE tenant_extension_schedule SET last_run_status = 'error' WHERE id = $1",
        UUID(failing),
    )
    page = await setting.admin("listSchedules", failing=True)
    assert [each["id"] for each in page["schedules"]] == [failing]
    assert len((await setting.admin("listSchedules", failing=False))["schedules"]) == 1


async def test_pages_stay_small_enough_for_the_bus(setting: Setting) -> None:
    for _ in range(6):
        await setting.create(payload={"text": "x" * 90_000})
    page = await setting.admin("listSchedules", limit=50)
    assert len(page["schedules"]) == 4
    rest = await setting.admin("listSchedules", limit=50, cursor=page["nextCursor"])
    assert len(rest["schedules"]) == 2


@pytest.mark.parametrize("op", ["listSchedules", "runHistory", "auditLog", "exportTenant"])
@pytest.mark.parametrize("cursor", ["x", "e30", "WyJ0IiwibiJd", "WyJcdTAwMDAiLDFd", "ü"])
async def test_a_malformed_cursor_is_a_field_error(setting: Setting, op: str, cursor: str) -> None:
    answer = await setting.admin(
        op, cursor=cursor, limit=1000, tenantId="tenant-1", installId=setting.install_id
    )
    assert answer["fieldErrors"] == {
        "limit": "Must be between 1 and 200",
        "cursor": "Invalid cursor",
    }


async def test_run_now_is_one_run_per_minute(setting: Setting, pool: asyncpg.Pool) -> None:
    identity = await setting.create(enabled=False)
    first = await setting.admin("runNow", scheduleId=identity)
    second = await setting.admin("runNow", scheduleId=identity)
    assert first["success"] is True
    runs = await pool.fetch("SELECT * FROM ext_scheduler.runs ORDER BY slot")
    assert {str(row["id"]) for row in runs} == {first["runId"], second["runId"]}
    assert len(runs) == (1 if first["runId"] == second["runId"] else 2)
    assert (runs[0]["kind"], runs[0]["trigger"]) == ("manual", "run_now")
    assert await counts(pool, "ext_scheduler.pgqueuer") == {"ext_scheduler.pgqueuer": len(runs)}


async def test_run_now_is_refused_where_the_install_is_disabled(setting: Setting) -> None:
    identity = await setting.create()
    await setting.admin("setInstallEnabled", installId=setting.install_id, enabled=False)
    answer = await setting.admin("runNow", scheduleId=identity)
    assert answer == {
        "success": False,
        "code": "INSTALL_DISABLED",
        "error": "Install is disabled",
    }


async def test_five_manual_runs_a_minute_per_tenant(pool: asyncpg.Pool) -> None:
    start = datetime.now(UTC).replace(second=1, microsecond=0)
    admin = Admin(dispatcher(pool, Limits(max_schedules=100), clock=lambda _: start))
    registered = await register(admin, "1.0.0", "/a")
    setting = Setting(admin, registered["installId"])
    identities = [await setting.create() for _ in range(12)]
    replies = await asyncio.gather(
        *(admin.send("runNow", {"scheduleId": identity}) for identity in identities)
    )
    answers = [read(reply) for reply in replies]
    assert sum(answer["success"] for answer in answers) == 5
    refused = next(answer for answer in answers if not answer["success"])
    assert (refused["code"], 0 < refused["retryAfterMs"] <= 60_000) == ("RATE_LIMITED", True)
    assert await counts(pool, "ext_scheduler.runs", "ext_scheduler.pgqueuer") == {
        "ext_scheduler.runs": 5,
        "ext_scheduler.pgqueuer": 5,
    }
    done = next(i for i, answer in enumerate(answers) if answer["success"])
    again = await admin("runNow", scheduleId=identities[done])
    assert again == answers[done]


async def write_runs(pool: asyncpg.Pool, setting: Setting, schedule_id: str, count: int) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    planned = [
        occurrences.Occurrence(
            tenant_id="tenant-1",
            install_id=UUID(setting.install_id),
            schedule_id=UUID(schedule_id),
            slot=start + timedelta(minutes=number),
        )
        for number in range(count)
    ]
    async with pool.acquire() as connection:
        await occurrences.plan(connection, planned, start)


async def test_history_is_newest_first_and_page_by_page(
    setting: Setting, pool: asyncpg.Pool
) -> None:
    identity, other = await setting.create(), await setting.create()
    await write_runs(pool, setting, identity, 5)
    await write_runs(pool, setting, other, 5)
    await pool.execute(
        "UPDATE ext_scheduler.runs SET status = 'error' WHERE slot = '2026-01-01 00:03:00Z'"
    )
    for body, total in (({"scheduleId": identity}, 5), ({"installId": setting.install_id}, 10)):
        seen: list[dict[str, Any]] = []
        cursor = None
        while cursor is not None or not seen:
            page = await setting.admin("runHistory", limit=3, cursor=cursor, **body)
            seen += page["runs"]
            cursor = page.get("nextCursor")
        assert len({run["id"] for run in seen}) == len(seen) == total
        assert [run["slot"] for run in seen] == sorted((r["slot"] for r in seen), reverse=True)
    failed = await setting.admin("runHistory", installId=setting.install_id, status="error")
    assert {run["slot"] for run in failed["runs"]} == {"2026-01-01T00:03:00.000Z"}


async def test_history_outlives_its_schedule(setting: Setting, pool: asyncpg.Pool) -> None:
    identity = await setting.create()
    await write_runs(pool, setting, identity, 1)
    await setting.admin("deleteSchedule", installId=setting.install_id, scheduleId=identity)
    assert len((await setting.admin("runHistory", scheduleId=identity))["runs"]) == 1
    operating = operator(setting.admin.dispatcher)
    assert (await operating("runHistory", scheduleId=identity))["runs"] == []
    page = await operating("runHistory", scheduleId=identity, tenantId="tenant-1")
    assert len(page["runs"]) == 1
    assert len((await setting.admin("runHistory"))["runs"]) == 1


async def test_the_audit_log_names_actor_and_changes(setting: Setting) -> None:
    identity = await setting.create(name="x", payload={"secret": 1})
    page = await setting.admin("auditLog", installId=setting.install_id)
    assert [entry["op"] for entry in page["entries"]] == ["createSchedule", "registerInstall"]
    entry = page["entries"][0]
    assert (entry["actor"], entry["trigger"]) == ("platform/user-1", "admin")
    assert (entry["changes"]["scheduleId"], entry["changes"]["name"]) == (identity, "x")
    assert "secret" not in str(entry)
    first = await setting.admin("auditLog", limit=1)
    second = await setting.admin("auditLog", limit=1, cursor=first["nextCursor"])
    assert [*first["entries"], *second["entries"]] == page["entries"]
    assert (await setting.admin("auditLog", since="2999-01-01T00:00:00Z"))["entries"] == []
    answer = await setting.admin("auditLog", since="yesterday")
    assert answer["fieldErrors"] == {"since": "Invalid since"}
    everything = await operator(setting.admin.dispatcher)("auditLog")
    assert everything["entries"] == page["entries"]
    ids = {"installId": setting.install_id, "scheduleId": identity}
    assert (await setting.admin("auditLog", **ids))["entries"] == page["entries"][:1]
    answer = await setting.admin("auditLog", scheduleId=identity)
    assert answer["fieldErrors"] == {"installId": "Invalid installId"}


async def test_a_preview_answers_slots_or_field_errors(setting: Setting) -> None:
    body = {"cron": "30 2 * * *", "timezone": "Europe/Berlin", "from": "2026-03-28T12:00:00Z"}
    page = await setting.admin("previewCron", count=2, **body)
    assert page["slots"] == ["2026-03-29T01:00:00.000Z", "2026-03-30T00:30:00.000Z"]
    assert page["words"] == "At 02:30, Europe/Berlin time"
    skipped, after = page["details"]
    assert skipped["local"] == "2026-03-29T03:00:00+02:00"
    assert "its wall time is skipped" in skipped["remark"]
    assert after == {"utc": page["slots"][1], "local": "2026-03-30T02:30:00+02:00", "remark": None}
    assert len((await setting.admin("previewCron", cron="0 0 * * *"))["slots"]) == 10
    answer = await setting.admin(
        "previewCron", cron="* * * * *", timezone="Mars", count=51, **{"from": "now"}
    )
    assert answer["fieldErrors"] == {
        "cron": "Cron too frequent (minimum interval is 5 minutes)",
        "timezone": "Invalid timezone",
        "count": "Must be between 1 and 50",
        "from": "Invalid from",
    }
    late = await setting.admin("previewCron", cron="0 0 * * *", **{"from": "9999-01-01T00:00:00Z"})
    assert late["fieldErrors"] == {"from": "Invalid from"}
    assert (await setting.admin("previewCron"))["fieldErrors"] == {"cron": "Required"}

"""The six host operations against a real database."""

import asyncio
import re
from datetime import datetime
from uuid import uuid4

import asyncpg
import pytest

from contracts.encoding import Encoding
from service.rules.limits import Limits
from tests.support.eventually import eventually
from tests.support.host import Caller, dispatcher, read
from tests.support.platform import add_version, counts, install, waits_for_a_lock

HOURLY = {"endpoint": "/api/heartbeat", "cron": "0 * * * *"}
UNLIMITED = Limits(changes_per_minute=1_000_000)
OURS = ("ext_scheduler.timers", "ext_scheduler.idempotency", "ext_scheduler.audit")


@pytest.fixture
async def ask(pool: asyncpg.Pool) -> Caller:
    """Return the requests of one install that may schedule, without a rate limit."""
    return Caller(dispatcher(pool, UNLIMITED), await install(pool))


async def test_a_created_schedule_is_shown_whole(ask: Caller) -> None:
    created = await ask(
        "create",
        endpoint="post api//heartbeat",
        cron=" 0 9 * * 1 ",
        timezone="Europe/Berlin",
        name=" weekly ",
        payload={"a": [1, 2.0, None]},
    )
    assert created["success"] is True
    (shown,) = (await ask("list"))["schedules"]
    assert shown == (await ask("get", scheduleId=created["scheduleId"]))["schedule"]
    next_run = datetime.fromisoformat(shown.pop("nextRunAt"))
    assert (next_run.minute, next_run.second) == (0, 0)
    assert shown.pop("createdAt") == shown.pop("updatedAt")
    assert shown == {
        "id": created["scheduleId"],
        "endpointPath": "/api/heartbeat",
        "endpointMethod": "POST",
        "name": "weekly",
        "cron": "0 9 * * 1",
        "timezone": "Europe/Berlin",
        "enabled": True,
        "payload": {"a": [1, 2.0, None]},
        "lastRunAt": None,
        "lastRunStatus": None,
        "lastError": None,
        "revision": 1,
    }


async def test_null_in_create_means_absent(ask: Caller) -> None:
    absent = dict.fromkeys(("timezone", "enabled", "name", "payload"))
    await ask("create", **HOURLY, **absent)
    (shown,) = (await ask("list"))["schedules"]
    assert (shown["timezone"], shown["enabled"], shown["name"]) == ("UTC", True, None)


async def test_a_disabled_schedule_has_no_timer_and_no_job(ask: Caller, pool: asyncpg.Pool) -> None:
    created = await ask("create", **HOURLY, enabled=False)
    row = await pool.fetchrow("SELECT * FROM tenant_extension_schedule")
    assert row is not None
    assert (row["job_id"], row["runner_schedule_id"]) == (None, None)
    assert await counts(pool, "ext_scheduler.timers") == {"ext_scheduler.timers": 0}
    await ask("update", scheduleId=created["scheduleId"], enabled=True)
    row = await pool.fetchrow("SELECT * FROM tenant_extension_schedule")
    assert row is not None
    assert str(row["job_id"]) == created["scheduleId"]
    assert row["runner_schedule_id"] == (
        f"extsched:{ask.installed.install_id}:{created['scheduleId']}"
    )
    assert await counts(pool, "ext_scheduler.timers") == {"ext_scheduler.timers": 1}


async def test_all_field_errors_come_at_once_in_the_order_of_the_input(ask: Caller) -> None:
    await ask("create", **HOURLY, name="taken")
    answer = await ask(
        "create",
        payload="text",
        name="taken",
        enabled="yes",
        timezone="Mars/Base",
        cron="* * * * *",
        endpoint="/api/none",
    )
    assert answer == {
        "success": False,
        "code": "VALIDATION_FAILED",
        "error": "Endpoint not found or not schedulable",
        "fieldErrors": {
            "endpoint": "Endpoint not found or not schedulable",
            "cron": "Cron too frequent (minimum interval is 5 minutes)",
            "timezone": "Invalid timezone",
            "enabled": "Wrong type (expected boolean)",
            "name": "Schedule name already in use for this extension",
            "payload": "Payload must be a JSON object or array",
        },
    }
    assert list(answer["fieldErrors"]) == [
        "endpoint",
        "cron",
        "timezone",
        "enabled",
        "name",
        "payload",
    ]


async def test_required_fields_are_named(ask: Caller) -> None:
    answer = await ask("create")
    assert answer["fieldErrors"] == {"endpoint": "Required", "cron": "Required"}


async def test_a_taken_name_alone_is_a_conflict(ask: Caller) -> None:
    await ask("create", **HOURLY, name="taken")
    answer = await ask("create", **HOURLY, name="taken ")
    assert (answer["code"], list(answer["fieldErrors"])) == ("CONFLICT", ["name"])
    other = await ask("create", **HOURLY, name="other")
    answer = await ask("update", scheduleId=other["scheduleId"], name="taken")
    assert answer["code"] == "CONFLICT"


async def test_a_name_inserted_concurrently_by_another_writer_is_a_conflict(
    ask: Caller, pool: asyncpg.Pool
) -> None:
    await ask("create", **HOURLY)
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(
            """INSERT INTO tenant_extension_schedule (install_id, tenant_id, name, cron)
               SELECT install_id, tenant_id, 'wanted', cron FROM tenant_extension_schedule"""
        )
        waiting = asyncio.create_task(ask("create", **HOURLY, name="wanted"))
        await eventually(lambda: waits_for_a_lock(pool))
    answer = await waiting
    assert (answer["code"], list(answer["fieldErrors"])) == ("CONFLICT", ["name"])


async def test_a_name_may_be_kept_in_an_update(ask: Caller) -> None:
    created = await ask("create", **HOURLY, name="mine")
    assert await ask("update", scheduleId=created["scheduleId"], name="mine") == {"success": True}


@pytest.mark.parametrize(
    ("selector", "payload", "method"),
    [
        ("/api/both", None, "GET"),
        ("/api/both", {}, "POST"),
        ("get /api/both", {}, "GET"),
        ("/api/status", {}, "GET"),
    ],
)
async def test_selectors_resolve_by_the_rule(
    ask: Caller, selector: str, payload: object, method: str
) -> None:
    created = await ask("create", endpoint=selector, cron="0 * * * *", payload=payload)
    shown = (await ask("get", scheduleId=created["scheduleId"]))["schedule"]
    assert shown["endpointMethod"] == method


@pytest.mark.parametrize(
    "selector",
    ["/api/hidden", "DELETE /api/status", "/api/items/:id", "POST /api/status", "x" * 257, ""],
)
async def test_an_endpoint_that_cannot_be_scheduled_is_a_field_error(
    ask: Caller, selector: str
) -> None:
    answer = await ask("create", endpoint=selector, cron="0 * * * *")
    assert answer["fieldErrors"] == {"endpoint": "Endpoint not found or not schedulable"}


async def test_endpoints_are_materialised_once_and_listed_in_order(
    ask: Caller, pool: asyncpg.Pool
) -> None:
    shown = (await ask("getEndpoints"))["endpoints"]
    assert shown == (await ask("getEndpoints"))["endpoints"]
    assert [(each["path"], each["method"]) for each in shown] == sorted(
        (each["path"], each["method"]) for each in shown
    )
    assert {each["path"] for each in shown if not each["schedulable"]} == {
        "/api/hidden",
        "/api/items/:id",
        "/api/status",
    }
    assert (await counts(pool, "extension_api_endpoint"))["extension_api_endpoint"] == len(shown)


async def test_an_update_changes_only_the_given_fields(ask: Caller) -> None:
    created = await ask("create", **HOURLY, name="kept", payload=[1])
    identity = created["scheduleId"]
    before = (await ask("get", scheduleId=identity))["schedule"]
    assert await ask("update", scheduleId=identity, cron="30 * * * *") == {"success": True}
    after = (await ask("get", scheduleId=identity))["schedule"]
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"cron", "nextRunAt", "updatedAt", "revision"}
    await ask("update", scheduleId=identity, name=None, payload=None)
    cleared = (await ask("get", scheduleId=identity))["schedule"]
    assert (cleared["name"], cleared["payload"], cleared["revision"]) == (None, None, 3)


async def test_equal_values_leave_the_timer_unchanged(ask: Caller, pool: asyncpg.Pool) -> None:
    created = await ask("create", **HOURLY)
    await pool.execute("UPDATE ext_scheduler.timers SET missed = 7")
    await ask(
        "update", scheduleId=created["scheduleId"], cron="0 * * * *", timezone="UTC", enabled=True
    )
    assert await pool.fetchval("SELECT missed FROM ext_scheduler.timers") == 7
    await ask("update", scheduleId=created["scheduleId"], timezone="Asia/Kathmandu")
    assert await pool.fetchval("SELECT missed FROM ext_scheduler.timers") == 0


async def test_null_is_a_field_error_where_nothing_can_be_cleared(ask: Caller) -> None:
    created = await ask("create", **HOURLY)
    fields = ("endpoint", "cron", "timezone", "enabled", "expectedRevision")
    answer = await ask("update", scheduleId=created["scheduleId"], **dict.fromkeys(fields))
    assert list(answer["fieldErrors"]) == list(fields)


async def test_field_errors_come_before_not_found(ask: Caller) -> None:
    answer = await ask("update", scheduleId=str(uuid4()), cron="bad")
    assert answer["code"] == "VALIDATION_FAILED"
    answer = await ask("update", scheduleId=str(uuid4()), cron="0 * * * *")
    assert answer == {"success": False, "code": "NOT_FOUND", "error": "Schedule not found"}


async def test_a_malformed_id_is_a_field_error_everywhere(ask: Caller) -> None:
    for op in ("get", "update", "delete"):
        answer = await ask(op, scheduleId="1' OR '1'='1")
        assert answer["code"] == "VALIDATION_FAILED"
        assert answer["fieldErrors"]["scheduleId"] == "Invalid scheduleId"


async def test_expected_revision_lets_exactly_one_of_two_win(ask: Caller) -> None:
    created = await ask("create", **HOURLY)
    identity = created["scheduleId"]
    won = await ask("update", scheduleId=identity, name="first", expectedRevision=1)
    lost = await ask("update", scheduleId=identity, name="second", expectedRevision=1)
    assert (won["success"], lost["code"]) == (True, "CONFLICT")


async def test_a_deleted_schedule_loses_its_timer(ask: Caller, pool: asyncpg.Pool) -> None:
    created = await ask("create", **HOURLY)
    assert await ask("delete", scheduleId=created["scheduleId"]) == {"success": True}
    assert (await ask("list"))["schedules"] == []
    again = await ask("delete", scheduleId=created["scheduleId"])
    assert (again["code"], again["error"]) == ("NOT_FOUND", "Schedule not found")
    assert (await counts(pool, "ext_scheduler.timers"))["ext_scheduler.timers"] == 0


async def test_another_installs_schedule_is_not_found(pool: asyncpg.Pool) -> None:
    served = dispatcher(pool, UNLIMITED)
    mine, other = Caller(served, await install(pool)), Caller(served, await install(pool))
    created = await mine("create", **HOURLY)
    identity = created["scheduleId"]
    unknown = str(uuid4())
    for op, fields in (("get", {}), ("update", {"cron": "0 1 * * *"}), ("delete", {})):
        assert await other(op, scheduleId=identity, **fields) == await other(
            op, scheduleId=unknown, **fields
        )
    assert (await other("list"))["schedules"] == []
    assert len((await mine("list"))["schedules"]) == 1


async def test_the_quota_counts_disabled_schedules(pool: asyncpg.Pool) -> None:
    ask = Caller(
        dispatcher(pool, Limits(max_schedules=2, changes_per_minute=100)), await install(pool)
    )
    await ask("create", **HOURLY, enabled=False)
    await ask("create", **HOURLY)
    answer = await ask("create", **HOURLY)
    assert answer == {
        "success": False,
        "code": "QUOTA_EXCEEDED",
        "error": "Too many schedules (max 2 per extension install)",
    }


async def test_ten_changes_a_minute_and_only_real_ones_count(pool: asyncpg.Pool) -> None:
    ask = Caller(dispatcher(pool), await install(pool))
    created = await ask("create", **HOURLY)
    for _ in range(5):
        await ask("create", endpoint="/none", cron="bad")
        await ask("delete", scheduleId=str(uuid4()))
    for hour in range(9):
        change = {"scheduleId": created["scheduleId"], "cron": f"0 {hour} * * *"}
        assert (await ask("update", **change))["success"] is True
    reply = await ask.send("delete", {"scheduleId": created["scheduleId"]})
    answer = read(reply)
    assert reply.error == (429, answer["error"])
    assert answer["code"] == "RATE_LIMITED"
    assert 0 < answer["retryAfterMs"] <= 60_000
    limit = r"Too many schedule changes \(max 10 a minute; the next from [0-9T:.-]+Z\)"
    assert re.fullmatch(limit, answer["error"])
    assert len((await ask("list"))["schedules"]) == 1


async def test_the_window_slides(pool: asyncpg.Pool) -> None:
    ask = Caller(dispatcher(pool, Limits(changes_per_minute=1)), await install(pool))
    await ask("create", **HOURLY)
    assert (await ask("create", **HOURLY))["code"] == "RATE_LIMITED"
    await pool.execute(
        """UPDATE ext_scheduler.rate_windows
           SET accepted = ARRAY[accepted[1] - interval '60 seconds']"""
    )
    assert (await ask("create", **HOURLY))["success"] is True


async def test_the_same_jti_changes_once_and_answers_the_same(
    ask: Caller, pool: asyncpg.Pool
) -> None:
    jti = uuid4()
    first = await ask.send("create", HOURLY, jti)
    again = await ask.send("create", HOURLY, jti)
    assert first.body == again.body
    assert (await counts(pool, *OURS)) == dict.fromkeys(OURS, 1)


async def test_the_same_jti_for_another_change_is_a_conflict(ask: Caller) -> None:
    jti = uuid4()
    await ask.send("create", HOURLY, jti)
    other_body = await ask.send("create", {**HOURLY, "cron": "5 * * * *"}, jti)
    other_op = await ask.send("delete", HOURLY, jti)
    for reply in (other_body, other_op):
        assert read(reply)["code"] == "CONFLICT"
        assert reply.error is not None


async def test_a_call_without_a_change_is_executed_again_when_repeated(ask: Caller) -> None:
    jti = uuid4()
    body = {**HOURLY, "name": "wanted"}
    blocking = await ask("create", **body)
    assert read(await ask.send("create", body, jti))["code"] == "CONFLICT"
    await ask("delete", scheduleId=blocking["scheduleId"])
    assert read(await ask.send("create", body, jti))["success"] is True


async def test_a_change_leaves_audit_entry_and_event(ask: Caller, pool: asyncpg.Pool) -> None:
    jti = uuid4()
    await ask.send("create", {**HOURLY, "payload": {"secret": "x"}}, jti)
    entry = await pool.fetchrow("SELECT * FROM ext_scheduler.audit")
    assert entry is not None
    assert (entry["op"], entry["trigger"], entry["request_id"]) == ("create", "host_api", str(jti))
    assert "secret" not in entry["changes"]
    event = await pool.fetchrow("SELECT * FROM ext_scheduler.outbox")
    assert event is not None
    assert event["type"] == "schedule.created"


async def test_json_and_messagepack_give_the_same(ask: Caller) -> None:
    await ask("create", **HOURLY, payload={"ü": [1.0, -0.5, 2**63]})
    in_json = Caller(ask.dispatcher, ask.installed, encoding=Encoding.JSON)
    assert await in_json("list") == await ask("list")
    assert await in_json("getEndpoints") == await ask("getEndpoints")


async def test_rows_of_another_writer_never_crash(ask: Caller, pool: asyncpg.Pool) -> None:
    created = await ask("create", **HOURLY)
    await pool.execute(
        """UPDATE tenant_extension_schedule SET cron = 'nonsense', timezone = 'Nowhere',
           payload_json = '"[1, 2]"', enabled = false, endpoint_id = gen_random_uuid()"""
    )
    (shown,) = (await ask("list"))["schedules"]
    assert shown["cron"] == "nonsense"
    answer = await ask("update", scheduleId=created["scheduleId"], enabled=True)
    assert set(answer["fieldErrors"]) == {"endpoint", "timezone"}


async def test_enabling_needs_the_endpoint_in_the_present_version(
    ask: Caller, pool: asyncpg.Pool
) -> None:
    created = await ask("create", **HOURLY, enabled=False)
    version_id = uuid4()
    await add_version(pool, ask.installed.registry_id, version_id)
    await pool.execute("UPDATE tenant_extension_install SET version_id = $1", version_id)
    answer = await ask("update", scheduleId=created["scheduleId"], enabled=True)
    assert answer["fieldErrors"] == {"endpoint": "Endpoint not found or not schedulable"}
    fixed = await ask(
        "update", scheduleId=created["scheduleId"], enabled=True, endpoint="/api/heartbeat"
    )
    assert fixed == {"success": True}

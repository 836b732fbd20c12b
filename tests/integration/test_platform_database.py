"""Every operation on a database whose registry the platform's own migrations made."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from msgspec import Struct

from contracts.admin import ADMIN_OPS
from contracts.schedules import HOST_OPS
from service.rules.limits import Limits
from service.rules.outcomes import CallOutcome
from service.rules.planning import SlotCache
from service.storage.engine import clock
from service.storage.engine.migrate import migrate
from service.storage.runs.queue import JobPayload
from service.storage.runs.updates import RunUpdate
from service.worker.firing import FiringSettings
from service.worker.firing.attempt import AttemptResult, ClaimedAttempt
from service.worker.firing.attempt_store import AttemptStore
from service.worker.planner import PlannerSettings, plan_due
from tests.support.admin import Admin, operator, register
from tests.support.host import Caller, dispatcher
from tests.support.platform import Installed
from tests.support.pools import pool_of

SCHEMA = (Path(__file__).parents[1] / "support" / "platform_schema.sql").read_text()
COLUMNS = """
SELECT table_name, column_name, data_type, column_default, is_nullable
FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2
"""
OURS = {
    *("revision", "missing_endpoint", "last_run_slot", "released"),
    *("failures", "failing_since", "failing_run", "disabled_after"),
}


@pytest.fixture
async def pool(empty_database: str) -> AsyncIterator[asyncpg.Pool]:
    """Yield connections, in UTC as the service's own, to a migrated database of the platform."""
    async with pool_of(
        empty_database, min_size=1, max_size=10, server_settings={"timezone": "UTC"}
    ) as pool:
        await pool.execute(SCHEMA)
        async with pool.acquire() as connection:
            before = await connection.fetch(COLUMNS)
            await migrate(connection)
            after = await connection.fetch(COLUMNS)
        assert [row for row in after if row["column_name"] not in OURS] == before
        yield pool


class Walk(Struct, frozen=True):
    """Asks, and remembers which operations have succeeded."""

    host: Caller
    admin: Admin
    operator: Admin
    done: set[str]

    async def ask(self, caller: Caller | Admin, op: str, **body: Any) -> dict[str, Any]:
        answer = await caller(op, **body)
        assert answer.get("success", True), (op, answer)
        assert "code" not in answer, (op, answer)
        self.done.add(op)
        return answer


@pytest.fixture
async def walk(pool: asyncpg.Pool) -> Walk:
    served = dispatcher(pool, Limits(changes_per_minute=1_000))
    admin = Admin(served)
    rows = await register(admin, "1.0.0", "/a", "/b")
    await register(admin, "2.0.0", "/a")
    # As the platform stores them: JSON text inside JSON strings.
    await pool.execute(
        """UPDATE extension_version SET api_endpoints = to_jsonb(api_endpoints::text),
             capabilities = to_json(capabilities::text)"""
    )
    await pool.execute(
        """UPDATE tenant_extension_install SET granted_caps = to_jsonb(granted_caps::text),
             config = '"{}"'"""
    )
    await pool.execute(
        """INSERT INTO tenant_extension_install_config (install_id, tenant_id, providers)
           SELECT id, tenant_id, '"[]"' FROM tenant_extension_install"""
    )
    ids = [UUID(rows[name]) for name in ("installId", "registryId", "versionId")]
    host = Caller(served, Installed("tenant-1", *ids))
    return Walk(host, admin, operator(served), {"registerInstall"})


async def host_walk(walk: Walk) -> str:
    """Call the six host operations; return the id of a schedule."""
    await walk.ask(walk.host, "getEndpoints")
    body = {"endpoint": "/a", "cron": "*/5 * * * *", "name": "n", "payload": {"x": [1.0]}}
    made = str((await walk.ask(walk.host, "create", **body))["scheduleId"])
    await walk.ask(walk.host, "update", scheduleId=made, timezone="Europe/Berlin", payload=None)
    shown = (await walk.ask(walk.host, "get", scheduleId=made))["schedule"]
    assert (shown["timezone"], shown["payload"], shown["revision"]) == ("Europe/Berlin", None, 2)
    other = (await walk.host("create", endpoint="/b", cron="0 0 * * *"))["scheduleId"]
    await walk.ask(walk.host, "delete", scheduleId=other)
    assert len((await walk.ask(walk.host, "list"))["schedules"]) == 1
    return made


async def fire(pool: asyncpg.Pool, schedule_id: str) -> None:
    """Plan and run the schedule, as a worker does."""
    await pool.execute("UPDATE ext_scheduler.timers SET due_at = date_trunc('minute', now())")
    async with pool.acquire() as connection:
        planned = await plan_due(
            connection, await clock.read(connection), PlannerSettings(), SlotCache()
        )
        assert planned.occurrences == 1
    row = await pool.fetchrow(
        "SELECT tenant_id, id, schedule_id, slot FROM ext_scheduler.runs WHERE kind = 'scheduled'"
    )
    assert row is not None
    store = AttemptStore(pool, FiringSettings(), clock.read)
    (attempt,) = await store.claim([JobPayload(*row)])
    assert isinstance(attempt, ClaimedAttempt)
    assert attempt.invocation.exists
    (update,) = await store.write(
        [AttemptResult(attempt=attempt, outcome=CallOutcome(http_status=200))]
    )
    assert isinstance(update, RunUpdate)
    status = "SELECT last_run_status FROM tenant_extension_schedule WHERE id = $1"
    assert await pool.fetchval(status, UUID(schedule_id)) == "success"


async def move(walk: Walk, document: Any) -> None:
    """Import and apply schedules in another tenant, and remove it."""
    elsewhere = Admin(walk.admin.dispatcher, tenant_id="tenant-2")
    await register(elsewhere, "1.0.0", "/a", "/b")
    body = {"tenantId": "tenant-2", "document": document}
    assert (await walk.ask(elsewhere, "importTenant", **body))["created"] == 2
    declared = {"name": "hourly", "endpoint": "/a", "cron": "0 * * * *"}
    installs = [{"publisher": "acme", "name": "demo", "schedules": [declared]}]
    body = {"tenantId": "tenant-2", "installs": installs, "prune": True}
    applied = await walk.ask(elsewhere, "applySchedules", **body)
    assert (applied["created"], applied["deleted"]) == (1, 2)
    await walk.ask(elsewhere, "purgeTenant", tenantId="tenant-2")


async def look_at_load(walk: Walk) -> None:
    """Ask for the week's load, and for the minute of a schedule that is due at five."""
    assert (await walk.ask(walk.admin, "load"))["schedules"] == 2
    five = f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%d}T05:00:00Z"
    (of_tenant,) = (await walk.ask(walk.admin, "loadMinute", minute=five))["most"]
    assert of_tenant["tenantId"] == "tenant-1"


async def test_every_operation_works_on_the_platforms_own_tables(
    walk: Walk, pool: asyncpg.Pool
) -> None:
    made = await host_walk(walk)
    await fire(pool, made)
    ask, admin = walk.ask, walk.admin
    install_id = str(walk.host.installed.install_id)
    shown = (await ask(admin, "getSchedule", scheduleId=made))["schedule"]
    assert shown["lastRunAt"] > shown["createdAt"]
    assert shown["createdAt"].endswith("Z")
    await ask(admin, "listEndpoints", installId=install_id)
    body = {"installId": install_id, "endpointId": shown["endpointId"], "cron": "0 5 * * *"}
    second = (await ask(admin, "createSchedule", **body))["scheduleId"]
    await ask(admin, "updateSchedule", installId=install_id, scheduleId=second, name="second")
    await ask(admin, "runNow", scheduleId=second)
    assert len((await ask(admin, "runHistory", installId=install_id))["runs"]) == 2
    for run in (await ask(admin, "runHistory", installId=install_id))["runs"]:
        assert (await ask(walk.operator, "getRun", runId=run["id"]))["run"] == run
    assert (await ask(admin, "stats"))["queued"] == 2
    why = await ask(admin, "explain", scheduleId=second, at="05:00")
    assert why["findings"][-1]["code"] == "slot_before_schedule"
    accounts = (await ask(admin, "account"))["schedules"]
    assert [row["unaccounted"] for row in accounts] == [0, 0]
    await look_at_load(walk)
    assert len((await ask(admin, "listSchedules", limit=1))["schedules"]) == 1
    (tenant,) = (await ask(walk.operator, "listTenants"))["tenants"]
    assert (tenant["tenantId"], tenant["installs"], tenant["schedules"]) == ("tenant-1", 1, 2)
    (listed,) = (await ask(walk.operator, "listInstalls"))["installs"]
    assert (listed["id"], listed["schedules"]) == (install_id, 2)
    await ask(admin, "previewCron", cron="0 0 * * *")
    third = (await admin("createSchedule", installId=install_id, endpoint="/b", cron="0 1 * * *"))[
        "scheduleId"
    ]
    blocked = await admin("updateInstall", installId=install_id, version="2.0.0")
    assert blocked["code"] == "SCHEDULE_REMAP_FAILED"
    moved = {"installId": install_id, "version": "2.0.0", "disableMissingSchedules": True}
    await ask(admin, "updateInstall", **moved)
    back = await ask(admin, "updateInstall", installId=install_id, version="1.0.0")
    assert [each["scheduleId"] for each in back["reenabled"]] == [third]
    await ask(admin, "deleteSchedule", installId=install_id, scheduleId=third)
    await ask(admin, "setInstallEnabled", installId=install_id, enabled=False)
    await ask(admin, "setInstallEnabled", installId=install_id, enabled=True)
    for paused in (True, False):
        await ask(admin, "setTenantPaused", tenantId="tenant-1", paused=paused)
    await ask(walk.operator, "setTenantPool", tenantId="tenant-1", pool="eu")
    await pool.execute("DELETE FROM ext_scheduler.timers")
    assert len((await ask(admin, "reconcile", dryRun=True))["inconsistencies"]) == 1
    given_back = await ask(admin, "release", installId=install_id)
    assert (given_back["released"], (await ask(admin, "adopt"))["adopted"]) == (2, 2)
    await ask(walk.operator, "backfillEndpoints")
    document = (await ask(admin, "exportTenant", tenantId="tenant-1"))["document"]
    assert (await ask(admin, "disableSchedules", installId=install_id))["disabled"] == 2
    assert len((await ask(admin, "auditLog", limit=200))["entries"]) > 10
    await ask(admin, "uninstall", installId=install_id)
    await move(walk, document)
    assert walk.done == {*HOST_OPS, *ADMIN_OPS}


@pytest.mark.parametrize(
    "garbage",
    [
        "null",
        "3",
        '"nonsense"',
        '{"a": [1]}',
        '[null, 3, {"method": 1}, "x"]',
        '"[[["',
        '"\\"[]\\""',
    ],
)
async def test_malformed_json_columns_are_answered(
    walk: Walk, pool: asyncpg.Pool, garbage: str
) -> None:
    await pool.execute(
        "UPDATE extension_version"
        " SET api_endpoints = $1::text::jsonb, capabilities = $1::text::json",
        garbage,
    )
    await pool.execute(
        "UPDATE tenant_extension_install_config SET config = $1, providers = $1", garbage
    )
    await pool.execute("UPDATE tenant_extension_install SET config = $1", garbage)
    install_id = str(walk.host.installed.install_id)
    for caller, op, body in (
        (walk.host, "list", {}),
        (walk.host, "getEndpoints", {}),
        (walk.host, "create", {"endpoint": "/a", "cron": "0 0 * * *"}),
        (walk.admin, "listEndpoints", {"installId": install_id}),
        (walk.admin, "updateInstall", {"installId": install_id, "version": "2.0.0"}),
        (walk.admin, "exportTenant", {"tenantId": "tenant-1"}),
        (walk.operator, "backfillEndpoints", {}),
        (walk.admin, "uninstall", {"installId": install_id}),
    ):
        answer = await caller(op, **body)
        assert answer.get("code") in {None, "DENIED", "VALIDATION_FAILED"}, (op, answer)

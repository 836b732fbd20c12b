"""What administrators list: tenants with their pauses, installs, and the history of all of them."""

from typing import Any
from uuid import UUID

import asyncpg
import pytest
from msgspec import Struct

from tests.support.admin import Admin, operator, register
from tests.support.host import dispatcher

CHANGED = """
INSERT INTO ext_scheduler.rate_windows (tenant_id, scope, accepted, updated_at)
VALUES ($1, $2, ARRAY[now() - interval '2 minutes', now()], now())
ON CONFLICT (tenant_id, scope) DO UPDATE SET accepted = excluded.accepted
"""
HOURLY = {"cron": "0 * * * *", "endpoint": "/a"}


class Two(Struct, frozen=True):
    """Two tenants, acme with two schedules (one disabled) and zeta with one."""

    acme: Admin
    zeta: Admin
    operator: Admin
    installs: dict[str, str]
    schedules: list[str]


@pytest.fixture
async def two(pool: asyncpg.Pool) -> Two:
    served = dispatcher(pool)
    acme, zeta = Admin(served, tenant_id="acme"), Admin(served, tenant_id="zeta")
    installs = {
        admin.tenant_id: (await register(admin, "1.0.0", "/a"))["installId"]
        for admin in (acme, zeta)
    }
    schedules = []
    for admin, enabled in ((acme, True), (acme, False), (zeta, True)):
        created = await admin(
            "createSchedule", installId=installs[admin.tenant_id], enabled=enabled, **HOURLY
        )
        schedules.append(created["scheduleId"])
    return Two(acme, zeta, operator(served), installs, schedules)


async def test_tenants_are_listed_with_what_they_have_page_by_page(two: Two) -> None:
    page = await two.operator("listTenants", limit=1)
    assert page["tenants"] == [
        {
            "tenantId": "acme",
            "installs": 1,
            "enabledInstalls": 1,
            "schedules": 2,
            "enabledSchedules": 1,
            "runsOfDay": 0,
            "failuresOfDay": 0,
            "rateUsed": 0,
            "rateLimit": 5,
            "paused": None,
            "runnerPool": None,
        }
    ]
    rest = await two.operator("listTenants", cursor=page["nextCursor"])
    assert [row["tenantId"] for row in rest["tenants"]] == ["zeta"]
    assert "nextCursor" not in rest
    assert [row["tenantId"] for row in (await two.zeta("listTenants"))["tenants"]] == ["zeta"]


async def test_runs_of_the_day_and_used_rates_are_counted_for_tenants_and_installs(
    two: Two, pool: asyncpg.Pool
) -> None:
    started = await two.acme("runNow", scheduleId=two.schedules[0])
    run_id = UUID(started["runId"])
    (tenant,) = (await two.operator("listTenants", tenantId="acme"))["tenants"]
    assert (tenant["runsOfDay"], tenant["failuresOfDay"]) == (1, 0)
    assert (tenant["rateUsed"], tenant["rateLimit"]) == (1, 5)
    await pool.execute("UPDATE ext_scheduler.runs SET status = 'error' WHERE id = $1", run_id)
    one, other = (await two.operator("listInstalls"))["installs"]
    assert [one[name] for name in ("tenantId", "runsOfDay", "failuresOfDay")] == ["acme", 1, 1]
    assert [other[name] for name in ("tenantId", "runsOfDay", "rateUsed")] == ["zeta", 0, 0]
    await pool.execute(CHANGED, "acme", f"install:{one['id']}")
    (one,) = (await two.acme("listInstalls"))["installs"]
    assert (one["rateUsed"], one["rateLimit"]) == (1, 10)
    await pool.execute("UPDATE ext_scheduler.runs SET slot = slot - interval '25 hours'")
    (tenant,) = (await two.acme("listTenants"))["tenants"]
    assert (tenant["runsOfDay"], tenant["failuresOfDay"]) == (0, 0)


async def test_audit_entries_are_found_by_person_operation_and_time(two: Two) -> None:
    await two.operator("setTenantPaused", tenantId="acme", paused=True)
    (paused,) = (await two.operator("auditLog", op="setTenantPaused"))["entries"]
    assert paused["tenantId"] == "acme"
    own = (await two.operator("auditLog", actor=paused["actor"]))["entries"]
    assert {entry["actor"] for entry in own} == {paused["actor"]}
    assert (await two.operator("auditLog", actor="platform/nobody"))["entries"] == []
    bounds = {"since": paused["at"], "until": "9999-01-01T00:00:00Z"}
    assert (await two.operator("auditLog", **bounds))["entries"] == [paused]
    assert (await two.operator("auditLog", until="2020-01-01T00:00:00Z"))["entries"] == []
    refused = await two.operator("auditLog", until="yesterday")
    assert list(refused["fieldErrors"]) == ["until"]


async def test_a_pause_says_since_when_by_whom_and_why(two: Two) -> None:
    await two.operator("setTenantPaused", tenantId="acme", paused=True, reason=" Ticket 4711 ")
    (paused,) = (await two.operator("listTenants", paused=True))["tenants"]
    assert paused["tenantId"] == "acme"
    assert paused["paused"]["by"].endswith("/operator-1")
    assert paused["paused"]["reason"] == "Ticket 4711"
    await two.zeta("setTenantPaused", tenantId="zeta", paused=True)
    await two.operator("setTenantPaused", tenantId="acme", paused=True, reason="Ticket 4712")
    again = (await two.operator("listTenants", tenantId="acme"))["tenants"][0]["paused"]
    assert again == {**paused["paused"], "reason": "Ticket 4712"}
    assert (await two.operator("listTenants", paused=False))["tenants"] == []
    (entry,) = (await two.operator("auditLog", tenantId="acme", limit=1))["entries"]
    assert entry["changes"] == {"paused": True, "reason": "Ticket 4712"}
    await two.operator("setTenantPaused", tenantId="acme", paused=False)
    (free,) = (await two.operator("listTenants", paused=False))["tenants"]
    assert (free["tenantId"], free["paused"]) == ("acme", None)


async def test_installs_are_listed_by_what_is_installed(two: Two) -> None:
    page = await two.operator("listInstalls", publisher="acme", name="demo", limit=1)
    (listed,) = page["installs"]
    assert listed["id"] == two.installs["acme"]
    assert (listed["version"], listed["quota"], listed["schedules"]) == ("1.0.0", 50, 2)
    assert "cap:scheduler.manage" in listed["capabilities"]
    rest = await two.operator("listInstalls", cursor=page["nextCursor"])
    assert [row["tenantId"] for row in rest["installs"]] == ["zeta"]
    await two.acme("setInstallEnabled", installId=two.installs["acme"], enabled=False)
    await two.acme("setTenantPaused", tenantId="acme", paused=True)
    (disabled,) = (await two.operator("listInstalls", enabled=False))["installs"]
    assert (disabled["tenantId"], disabled["tenantPaused"]) == ("acme", True)
    assert [row["tenantId"] for row in (await two.zeta("listInstalls"))["installs"]] == ["zeta"]
    for filter_ in ({"name": "other"}, {"version": "9.9.9"}, {"publisher": "nobody"}):
        assert (await two.operator("listInstalls", **filter_))["installs"] == []


async def test_history_is_of_a_schedule_a_tenant_or_all_between_two_instants(two: Two) -> None:
    for admin, schedule_id in ((two.acme, two.schedules[0]), (two.zeta, two.schedules[2])):
        assert (await admin("runNow", scheduleId=schedule_id))["success"]
    everything = (await two.operator("runHistory"))["runs"]
    assert {run["tenantId"] for run in everything} == {"acme", "zeta"}
    first = await two.operator("runHistory", limit=1)
    second = await two.operator("runHistory", limit=1, cursor=first["nextCursor"])
    assert [*first["runs"], *second["runs"]] == everything
    (own,) = (await two.acme("runHistory"))["runs"]
    assert own in everything
    assert (await two.operator("runHistory", tenantId="acme"))["runs"] == [own]
    slot = own["slot"]
    assert (await two.acme("runHistory", since=slot, until=slot))["runs"] == [own]
    assert (await two.acme("runHistory", since="2999-01-01T00:00:00Z"))["runs"] == []
    assert (await two.acme("runHistory", until="1999-01-01T00:00:00Z"))["runs"] == []
    refused = await two.acme("runHistory", since="yesterday", until=3)
    assert refused["fieldErrors"] == {
        "since": "Invalid since",
        "until": "Wrong type (expected string)",
    }


@pytest.mark.parametrize(
    ("op", "body"),
    [
        ("setTenantPaused", {"paused": True}),
        ("setTenantPaused", {"paused": False}),
        ("purgeTenant", {}),
        ("listTenants", {}),
        ("listInstalls", {}),
        ("listSchedules", {}),
        ("runHistory", {}),
        ("auditLog", {}),
        ("exportTenant", {}),
        ("reconcile", {}),
        ("adopt", {}),
    ],
)
async def test_an_unknown_tenant_is_an_error_everywhere(
    two: Two, op: str, body: dict[str, Any]
) -> None:
    answer = await two.operator(op, tenantId="acmee", **body)
    assert (answer["code"], answer["error"]) == ("NOT_FOUND", "Tenant not found")
    assert (await two.operator(op, tenantId="acme", **body)).get("code") is None


async def test_a_purged_tenant_is_known_by_its_audit(two: Two) -> None:
    for _ in range(2):
        assert (await two.operator("purgeTenant", tenantId="acme"))["success"]
    assert (await two.operator("auditLog", tenantId="acme"))["entries"]
    assert [row["tenantId"] for row in (await two.operator("listTenants"))["tenants"]] == ["zeta"]

"""Two tenants' administrators, through the whole table: neither sees or touches the other's."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec
import pytest
from msgspec import Struct

from contracts.admin import ADMIN_OPS
from contracts.times import wire_time
from service.rules.limits import Limits
from tests.support.admin import Admin, manifest, operator, register
from tests.support.host import dispatcher, read

WRITTEN = (
    "tenant_extension_install",
    "tenant_extension_install_config",
    "tenant_extension_install_secrets",
    "tenant_extension_schedule",
    "ext_scheduler.timers",
    "ext_scheduler.runs",
    "ext_scheduler.audit",
    "ext_scheduler.outbox",
    "ext_scheduler.rate_windows",
    "ext_scheduler.tenant_pauses",
    "ext_scheduler.tenant_pools",
)
HOURLY: Mapping[str, Any] = MappingProxyType({"cron": "0 * * * *", "endpoint": "/a"})


class Side(Struct, frozen=True):
    """A tenant with an install, a schedule with a run, and a document of it."""

    admin: Admin
    install_id: str
    schedule_id: str
    endpoint_id: str
    version_id: str
    document: dict[str, Any]
    run_id: str

    @property
    def tenant_id(self) -> str:
        return self.admin.tenant_id


async def side(pool: asyncpg.Pool, admin: Admin) -> Side:
    rows = await register(admin, "1.0.0", "/a")
    await register(admin, "2.0.0", "/a")
    created = await admin(
        "createSchedule", installId=rows["installId"], name=f"of {admin.tenant_id}", **HOURLY
    )
    run = await admin("runNow", scheduleId=created["scheduleId"])
    shown = (await admin("getSchedule", scheduleId=created["scheduleId"]))["schedule"]
    exported = await admin("exportTenant", tenantId=admin.tenant_id)
    for table in ("config", "secrets"):
        await pool.execute(
            f"INSERT INTO tenant_extension_install_{table} (install_id, tenant_id) VALUES ($1, $2)",
            UUID(rows["installId"]),
            admin.tenant_id,
        )
    return Side(
        admin,
        rows["installId"],
        created["scheduleId"],
        shown["endpointId"],
        rows["versionId"],
        exported["document"],
        run["runId"],
    )


@pytest.fixture
async def sides(pool: asyncpg.Pool) -> tuple[Side, Side]:
    served = dispatcher(pool, Limits(changes_per_minute=1_000))
    mine = await side(pool, Admin(served, tenant_id="tenant-1"))
    theirs = await side(pool, Admin(served, tenant_id="tenant-2", sub="user-2"))
    return mine, theirs


def bodies(other: Side) -> dict[str, list[dict[str, Any]]]:
    """For each operation, what a caller would send who knew the other's ids."""
    tenant, install = {"tenantId": other.tenant_id}, {"installId": other.install_id}
    schedule = {"scheduleId": other.schedule_id}
    declared = {"publisher": "acme", "name": "demo", "schedules": []}
    soon = {"minute": wire_time(datetime.now(UTC) + timedelta(hours=1))}
    return {
        "registerInstall": [
            {**tenant, "manifest": manifest("1.0.0", "/a"), "contentHash": "sha256:1.0.0"}
        ],
        "updateInstall": [
            {**install, "version": "2.0.0"},
            {**install, "versionId": other.version_id, "dryRun": True},
        ],
        "setInstallEnabled": [{**install, "enabled": False}],
        "uninstall": [install],
        "purgeTenant": [tenant],
        "setTenantPaused": [{**tenant, "paused": True}],
        "setTenantPool": [{**tenant, "pool": "eu"}],
        "disableSchedules": [install],
        "adopt": [tenant, install, {}],
        "release": [tenant, install, schedule, {}],
        "reconcile": [tenant, {}],
        "listTenants": [tenant, {}],
        "listInstalls": [tenant, {}],
        "listSchedules": [tenant, install, {}],
        "getSchedule": [schedule],
        "createSchedule": [
            {**install, **HOURLY},
            {**install, "cron": "0 1 * * *", "endpointId": other.endpoint_id},
        ],
        "updateSchedule": [{**install, **schedule, "name": "stolen"}],
        "deleteSchedule": [{**install, **schedule}],
        "runNow": [schedule],
        "runHistory": [schedule, install, {**tenant, **schedule}],
        "getRun": [{"runId": other.run_id}],
        "stats": [tenant, {}],
        "explain": [schedule, {**schedule, "at": "02:30"}],
        "account": [tenant, {}],
        "load": [tenant, {}],
        "loadMinute": [{**tenant, **soon}, soon],
        "previewCron": [{"cron": "0 * * * *"}],
        "listEndpoints": [install],
        "backfillEndpoints": [{"versionId": other.version_id}],
        "exportTenant": [tenant],
        "importTenant": [{**tenant, "document": other.document}],
        "applySchedules": [{**tenant, "installs": [declared], "prune": True}],
        "auditLog": [tenant, install, {}],
    }


async def of_tenant(pool: asyncpg.Pool, tenant_id: str) -> list[Any]:
    """Return every row of a tenant."""
    return [
        await pool.fetch(f"SELECT * FROM {table} WHERE tenant_id = $1 ORDER BY 1, 2", tenant_id)
        for table in WRITTEN
    ]


def test_the_matrix_has_every_operation() -> None:
    other = Side(Admin(None), "i", "s", "e", "v", {}, "r")  # type: ignore[arg-type]  # nothing is sent
    assert set(bodies(other)) == set(ADMIN_OPS)


async def test_operations_neither_read_nor_change_another_tenant(
    pool: asyncpg.Pool, sides: tuple[Side, Side]
) -> None:
    for mine, theirs in (sides, sides[::-1]):
        before = await of_tenant(pool, theirs.tenant_id)
        for op, body in ((op, body) for op, each in bodies(theirs).items() for body in each):
            reply = await mine.admin.send(op, body)
            text = msgspec.json.encode(read(reply)).decode()
            for secret in (theirs.install_id, theirs.schedule_id, f"of {theirs.tenant_id}"):
                assert secret not in text, op
            assert await of_tenant(pool, theirs.tenant_id) == before, op


async def test_rows_of_another_tenant_are_answered_like_missing_ones(
    sides: tuple[Side, Side],
) -> None:
    mine, theirs = sides
    compared = set()
    for op, body in ((op, body) for op, each in bodies(theirs).items() for body in each):
        unknown = {
            name: str(uuid4()) if name in {"installId", "scheduleId", "runId"} else value
            for name, value in body.items()
        }
        if "tenantId" not in body and unknown != body:
            seen, not_there = await mine.admin.send(op, body), await mine.admin.send(op, unknown)
            assert (seen.body, seen.error) == (not_there.body, not_there.error), op
            compared.add(op)
    assert len(compared) == 17


async def test_a_foreign_tenant_id_is_denied(sides: tuple[Side, Side]) -> None:
    mine, theirs = sides
    asked = {
        op: each
        for op, each in bodies(theirs).items()
        if "tenantId" in each[0] and not ADMIN_OPS[op].operator_only
    }
    assert len(asked) == 17
    for op, each in asked.items():
        reply = await mine.admin.send(op, each[0])
        assert reply.error == (403, "Token is for another tenant"), op


@pytest.mark.parametrize("op", sorted(ADMIN_OPS))
async def test_own_rows_are_answered_and_operators_see_all(
    sides: tuple[Side, Side], op: str
) -> None:
    mine, theirs = sides
    for caller, target in ((mine.admin, mine), (operator(mine.admin.dispatcher), theirs)):
        for body in bodies(target)[op]:
            reply = await caller.send(op, body)
            answer = read(reply)
            if reply.error is not None:
                assert ADMIN_OPS[op].operator_only
                assert caller == mine.admin
            elif op == "importTenant":
                assert answer["rowErrors"][0]["fieldErrors"].keys() == {"name"}
            else:
                assert answer.get("code") in {None, "NOT_FOUND"}, answer
                break


async def test_another_tenants_schedule_is_not_found_under_an_own_install(
    sides: tuple[Side, Side],
) -> None:
    mine, theirs = sides
    for op, body in (("updateSchedule", {"name": "x"}), ("deleteSchedule", {})):
        answer = await mine.admin(
            op, installId=mine.install_id, scheduleId=theirs.schedule_id, **body
        )
        assert (answer["code"], answer["error"]) == ("NOT_FOUND", "Schedule not found")

"""Export and import: schedules survive a move to another tenant or database."""

from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from msgspec import Struct

from contracts.schedules import CreateInput
from service.rules.limits import Limits
from tests.support.admin import Admin, register
from tests.support.host import dispatcher, read
from tests.support.platform import counts


class Move(Struct, frozen=True):
    """Two tenants that have the same extension, under other ids."""

    source: Admin
    target: Admin
    install_id: str


@pytest.fixture
async def move(pool: asyncpg.Pool) -> Move:
    served = dispatcher(pool, Limits(max_schedules=10))
    source, target = Admin(served), Admin(served, tenant_id="tenant-2")
    installed = await register(source, "1.0.0", "/a", "/b")
    await register(target, "1.0.0", "/a", "/b")
    return Move(source, target, installed["installId"])


async def fill(move: Move) -> None:
    for body in (
        {"endpoint": "/a", "cron": "0 9 * * 1", "timezone": "Europe/Berlin", "name": "weekly"},
        {"endpoint": "/b", "cron": "*/5 * * * *", "payload": {"n": [1.0, 2**63, None]}},
        {"endpoint": "/b", "cron": "0 0 1 * *", "enabled": False, "payload": []},
    ):
        created = await move.source("createSchedule", installId=move.install_id, **body)
        assert created["success"], created


EVERY_FIELD: dict[str, Any] = {
    "endpoint": "/b",
    "cron": "30 4 * * 2",
    "timezone": "Europe/Berlin",
    "enabled": False,
    "name": "every field",
    "payload": {"n": 1},
}
"""A value of each field of ``create``, none of them the default."""


async def test_an_export_and_an_import_carry_every_field(move: Move) -> None:
    assert set(EVERY_FIELD) == set(CreateInput.__struct_encode_fields__)
    body = {"installId": move.install_id, **EVERY_FIELD}
    assert (await move.source("createSchedule", **body))["success"]
    document = (await move.source("exportTenant", tenantId="tenant-1"))["document"]
    await move.target("importTenant", tenantId="tenant-2", document=document)
    [original] = (await move.source("listSchedules"))["schedules"]
    [copy] = (await move.target("listSchedules"))["schedules"]
    carried = {"endpointMethod", "endpointPath", *EVERY_FIELD} - {"endpoint"}
    assert {name: copy[name] for name in carried} == {name: original[name] for name in carried}
    given = {name: value for name, value in EVERY_FIELD.items() if name != "endpoint"}
    assert {name: copy[name] for name in given} == given


def portable(document: dict[str, Any]) -> list[str]:
    rows = [row for each in document["extensions"] for row in each["schedules"]]
    return sorted(map(repr, rows))


async def test_an_imported_document_equals_its_export(move: Move, pool: asyncpg.Pool) -> None:
    await fill(move)
    document = (await move.source("exportTenant", tenantId="tenant-1"))["document"]
    assert (document["format"], document["tenantId"]) == (1, "tenant-1")
    dry = await move.target("importTenant", tenantId="tenant-2", document=document, dryRun=True)
    assert dry == {"success": True, "created": 3}
    assert (await move.target("listSchedules"))["schedules"] == []
    answer = await move.target("importTenant", tenantId="tenant-2", document=document)
    assert answer == {"success": True, "created": 3}
    copied = (await move.target("exportTenant", tenantId="tenant-2"))["document"]
    assert portable(copied) == portable(document)
    timed = "SELECT count(*) FROM ext_scheduler.timers WHERE tenant_id = 'tenant-2'"
    assert await pool.fetchval(timed) == 2
    events = "SELECT count(*) FROM ext_scheduler.outbox WHERE tenant_id = 'tenant-2'"
    assert await pool.fetchval(events) == 3


async def test_each_page_of_an_export_can_be_imported(move: Move) -> None:
    await fill(move)
    cursor, pages = None, 0
    while cursor is not None or not pages:
        page = await move.source("exportTenant", tenantId="tenant-1", limit=1, cursor=cursor)
        answer = await move.target("importTenant", tenantId="tenant-2", document=page["document"])
        assert answer == {"success": True, "created": 1}
        cursor, pages = page.get("nextCursor"), pages + 1
    assert pages == 3
    assert len((await move.target("listSchedules"))["schedules"]) == 3


def row(**members: Any) -> dict[str, Any]:
    return {"endpointMethod": "POST", "endpointPath": "/a", "cron": "0 * * * *", **members}


def of(*rows: Any, publisher: str = "acme", name: str = "demo") -> dict[str, Any]:
    extension = {"publisher": publisher, "name": name, "schedules": list(rows)}
    return {"format": 1, "tenantId": "tenant-1", "extensions": [extension]}


async def test_every_invalid_row_is_reported_and_nothing_is_created(move: Move) -> None:
    await move.target("importTenant", tenantId="tenant-2", document=of(row(name="taken")))
    document = of(
        row(name="fine"),
        row(cron="* * * * *", timezone="Mars", name="taken"),
        row(endpointPath="/none", payload="text"),
        row(name="twice"),
        row(name="twice", enabled="yes", endpointMethod=4),
        "nonsense",
        {},
    )
    document["extensions"].append({"publisher": "acme", "name": "other", "schedules": [row()]})
    answer = await move.target("importTenant", tenantId="tenant-2", document=document)
    not_found = "Endpoint not found or not schedulable"
    assert answer["rowErrors"] == [
        {
            "extension": 0,
            "schedule": 1,
            "fieldErrors": {
                "cron": "Cron too frequent (minimum interval is 5 minutes)",
                "timezone": "Invalid timezone",
                "name": "Schedule name already in use for this extension",
            },
        },
        {
            "extension": 0,
            "schedule": 2,
            "fieldErrors": {
                "payload": "Payload must be a JSON object or array",
                "endpointPath": not_found,
            },
        },
        {
            "extension": 0,
            "schedule": 4,
            "fieldErrors": {
                "endpointMethod": "Wrong type (expected string)",
                "enabled": "Wrong type (expected boolean)",
                "name": "Schedule name already in use for this extension",
            },
        },
        {
            "extension": 0,
            "schedule": 5,
            "fieldErrors": {"schedule": "Wrong type (expected object)"},
        },
        {
            "extension": 0,
            "schedule": 6,
            "fieldErrors": {
                "endpointMethod": "Required",
                "endpointPath": "Required",
                "cron": "Required",
            },
        },
        {
            "extension": 1,
            "schedule": None,
            "fieldErrors": {"name": "Extension is not installed in this tenant"},
        },
    ]
    assert (answer["code"], answer["success"]) == ("VALIDATION_FAILED", False)
    first, _, third, *_ = (list(each["fieldErrors"]) for each in answer["rowErrors"])
    assert (first, third) == (["name", "cron", "timezone"], ["endpointMethod", "name", "enabled"])
    assert answer["error"] == "Schedule name already in use for this extension"
    assert len((await move.target("listSchedules"))["schedules"]) == 1


async def test_a_row_without_a_method_selects_no_endpoint(move: Move) -> None:
    for method in ("", " "):
        document = of(row(endpointMethod=method))
        answer = await move.target("importTenant", tenantId="tenant-2", document=document)
        (wrong,) = answer["rowErrors"]
        assert wrong["fieldErrors"] == {"endpointPath": "Endpoint not found or not schedulable"}


async def test_an_import_obeys_the_quota(move: Move) -> None:
    await move.target("importTenant", tenantId="tenant-2", document=of(*[row()] * 6))
    answer = await move.target("importTenant", tenantId="tenant-2", document=of(*[row()] * 6))
    assert answer == {
        "success": False,
        "code": "QUOTA_EXCEEDED",
        "error": "Too many schedules (max 10 per extension install)",
        "rowErrors": [
            {
                "extension": 0,
                "schedule": None,
                "fieldErrors": {"schedules": "Too many schedules (max 10 per extension install)"},
            }
        ],
    }


async def test_an_invalid_document_has_field_errors(move: Move) -> None:
    for document, errors in (
        (None, {"document": "Required"}),
        ("x", {"document": "Wrong type (expected object)"}),
        ({**of(), "format": 2}, {"document.format": "Unknown format (expected 1)"}),
        (
            {"format": "1", "extensions": [{"name": "demo", "schedules": {}}]},
            {
                "document.format": "Wrong type (expected integer)",
                "document.tenantId": "Required",
                "document.extensions[0].publisher": "Required",
                "document.extensions[0].schedules": "Wrong type (expected array)",
            },
        ),
    ):
        answer = await move.target("importTenant", tenantId="tenant-2", document=document)
        assert answer["fieldErrors"] == errors


async def test_an_import_is_applied_once_per_jti(move: Move, pool: asyncpg.Pool) -> None:
    jti, body = uuid4(), {"tenantId": "tenant-2", "document": of(row(), row())}
    first = await move.target.send("importTenant", body, jti)
    again = await move.target.send("importTenant", body, jti)
    assert first.body == again.body
    assert read(first)["created"] == 2
    table = "tenant_extension_schedule"
    assert await counts(pool, table) == {table: 2}


async def test_schedules_without_endpoint_are_omitted_and_reported(
    move: Move, pool: asyncpg.Pool
) -> None:
    await fill(move)
    lost = await pool.fetchval(
        """UPDATE tenant_extension_schedule SET endpoint_id = gen_random_uuid()
           WHERE name = 'weekly' RETURNING id"""
    )
    answer = await move.source("exportTenant", tenantId="tenant-1")
    assert answer["omitted"] == [{"subject": str(lost), "message": "Its endpoint is gone"}]
    assert len(portable(answer["document"])) == 2

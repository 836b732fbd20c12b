"""The largest inputs of administrators: bounded, judged without holding up anybody else."""

import gc
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from contracts.encoding import MAX_BODY_BYTES, Encoding, encode
from service.rules.limits import Limits
from tests.support.admin import Admin, manifest, operator, register
from tests.support.host import dispatcher, read
from tests.support.loop_watch import slowness, watched_loop

LONGEST_HOLD_S = 0.05
ENDPOINTS = [
    {"method": "POST", "path": f"/reports/{number}", "handler": "handle"} for number in range(1000)
]
ZEROS = [0] * 60_000
LONG_CRON = ",".join(str(minute) for minute in range(0, 60, 5)) + " 0-23 1-31 * *"


@pytest.fixture
def admin(pool: asyncpg.Pool) -> Iterator[Admin]:
    """Yield an operator, with a quota that the largest document just fits."""
    gc.collect()
    gc.disable()  # a collection of the test process's objects is not the operation's work
    yield operator(dispatcher(pool, Limits(changes_per_minute=1_000, max_schedules=1_000)))
    gc.enable()


async def ask(admin: Admin, op: str, body: dict[str, Any]) -> dict[str, Any]:
    """Send a request that fits into a body, and assert that the loop was never held for long."""
    assert len(encode(body, Encoding.MSGPACK)) <= MAX_BODY_BYTES
    before = slowness()
    with watched_loop() as watch:
        reply = await admin.send(op, body)
    assert watch.longest_s < LONGEST_HOLD_S * max(before, slowness()), (op, watch)
    assert len(reply.body) < 300_000, op
    return read(reply)


def registration(**members: Any) -> dict[str, Any]:
    body = {"tenantId": "tenant-1", "contentHash": "sha256:1", "grants": ["cap:scheduler.manage"]}
    return {**body, "manifest": manifest(), **members}


def document(rows: list[Any]) -> dict[str, Any]:
    extension = {"publisher": "acme", "name": "demo", "schedules": rows}
    return {"format": 1, "tenantId": "t", "extensions": [extension]}


def row(number: int, **members: Any) -> dict[str, Any]:
    cron = f"{number % 60} {number // 60 % 24} {number % 28 + 1} * *"
    return {"endpointMethod": "POST", "endpointPath": "/a", "cron": cron, **members}


async def test_the_largest_manifest_is_registered(admin: Admin) -> None:
    body = registration(manifest=manifest(api={"endpoints": ENDPOINTS}))
    registered = await ask(admin, "registerInstall", body)
    assert registered["success"] is True
    listed = await ask(admin, "listEndpoints", {"installId": registered["installId"]})
    assert len(listed["endpoints"]) == 1000
    assert (await ask(admin, "backfillEndpoints", {}))["success"] is True


@pytest.mark.parametrize(
    ("members", "field", "message"),
    [
        (
            {"manifest": manifest(api={"endpoints": [{}] * 60_000})},
            "manifest.api.endpoints",
            "Too many entries (max 1000)",
        ),
        (
            {"manifest": manifest(capabilities=["c"] * 60_000)},
            "manifest.capabilities",
            "Too many entries (max 100)",
        ),
        ({"grants": [None] * 60_000}, "grants", "Too many entries (max 100)"),
        ({"config": {"a": ZEROS}}, "config", "Must be JSON-serializable"),
        ({"config": {"a": [[]] * 60_000}}, "config", "Must be JSON-serializable"),
    ],
    ids=["endpoints", "capabilities", "grants", "config", "nested config"],
)
async def test_what_is_too_much_is_one_field_error(
    admin: Admin, members: dict[str, Any], field: str, message: str
) -> None:
    answer = await ask(admin, "registerInstall", registration(**members))
    assert answer["fieldErrors"] == {field: message}


async def test_at_most_a_hundred_field_errors_are_reported(admin: Admin) -> None:
    for endpoint in ({}, {"method": "?", "path": "/x", "handler": "h"}):
        body = registration(manifest=manifest(api={"endpoints": [endpoint] * 1000}))
        answer = await ask(admin, "registerInstall", body)
        assert 100 <= len(answer["fieldErrors"]) <= 102
    await register(Admin(admin.dispatcher))
    documents: list[list[Any]] = [[{}] * 1000, [row(n, cron=f"{n} x") for n in range(1000)]]
    for rows in (*documents, [3] * 1000):
        body = {"tenantId": "tenant-1", "document": document(rows)}
        answer = await ask(admin, "importTenant", body)
        assert answer["code"] == "VALIDATION_FAILED"
        assert sum(len(each["fieldErrors"]) for each in answer["rowErrors"]) <= 102


async def test_errors_beyond_the_first_hundred_do_not_make_an_import_fail(admin: Admin) -> None:
    extensions = [*document([{}] * 200)["extensions"], {"schedules": []}, 7]
    body = {"tenantId": "tenant-1", "document": {**document([]), "extensions": extensions}}
    answer = await ask(admin, "importTenant", body)
    assert answer["code"] == "VALIDATION_FAILED"


async def test_the_largest_document_is_imported_and_exported(admin: Admin) -> None:
    registered = await register(Admin(admin.dispatcher))
    rows = [row(number, timezone="Europe/Berlin", name=str(number)) for number in range(1000)]
    body = {"tenantId": "tenant-1", "document": document(rows)}
    assert await ask(admin, "importTenant", {**body, "dryRun": True}) == {
        "success": True,
        "created": 1000,
    }
    assert (await ask(admin, "importTenant", body))["created"] == 1000
    exported = await ask(admin, "exportTenant", {"tenantId": "tenant-1"})
    assert len(exported["document"]["extensions"][0]["schedules"]) > 200
    assert len((await ask(admin, "listSchedules", {"limit": 200}))["schedules"]) == 200
    install = {"installId": registered["installId"]}
    assert (await ask(admin, "updateInstall", {**install, "version": "1.0.0"}))["success"] is True
    assert (await ask(admin, "disableSchedules", install))["disabled"] == 1000
    assert (await ask(admin, "uninstall", install))["schedulesRemoved"] == 1000


async def test_a_document_of_too_many_rows_is_refused_as_a_whole(admin: Admin) -> None:
    body = {"tenantId": "tenant-1", "document": document([{}] * 2200)}
    answer = await ask(admin, "importTenant", body)
    assert answer["fieldErrors"] == {
        "document.extensions[0].schedules": "Too many entries (max 1000)"
    }
    extensions = document([row(1)] * 600)["extensions"] * 2
    body["document"] = {**document([]), "extensions": extensions}
    answer = await ask(admin, "importTenant", body)
    message = "Too many schedules in one document (max 1000)"
    assert answer["fieldErrors"] == {"document.extensions": message}


async def test_the_quota_is_judged_before_the_rows(pool: asyncpg.Pool) -> None:
    served = dispatcher(pool, Limits(max_schedules=50))
    await register(Admin(served))
    body = {"tenantId": "tenant-1", "document": document([row(n, cron="x") for n in range(51)])}
    answer = await ask(operator(served), "importTenant", body)
    message = "Too many schedules (max 50 per extension install)"
    assert (answer["code"], answer["error"]) == ("QUOTA_EXCEEDED", message)
    assert len(answer["rowErrors"]) == 1


@pytest.mark.parametrize("cron", ["0 0 29 2 *", "0 0 1 1 *", "*/5 * * * *", LONG_CRON])
async def test_a_long_preview_gives_others_their_turn(admin: Admin, cron: str) -> None:
    body = {"cron": cron, "timezone": "Europe/Berlin", "count": 50}
    assert len((await ask(admin, "previewCron", body))["slots"]) == 50


@pytest.mark.parametrize(
    "payload",
    [{"a": ZEROS}, {"a": [[]] * 60_000}, {"a": "x" * 240_000}, [0] * 49_000, [1.5e-7] * 20_000],
    ids=["zeros", "arrays", "text", "most that is accepted", "floats"],
)
async def test_a_large_payload_is_judged_quickly(admin: Admin, payload: Any) -> None:
    registered = await register(Admin(admin.dispatcher))
    body = {"installId": registered["installId"], "endpoint": "/a", "cron": "0 * * * *"}
    answer = await ask(admin, "createSchedule", {**body, "payload": payload})
    assert answer["success"] or answer["fieldErrors"] == {"payload": "Payload too large"}


async def test_thousands_of_rows_are_adopted_in_slices(admin: Admin, pool: asyncpg.Pool) -> None:
    registered = await register(Admin(admin.dispatcher))
    await pool.execute(
        """INSERT INTO tenant_extension_schedule
             (id, install_id, tenant_id, endpoint_id, name, cron, timezone, enabled)
           SELECT gen_random_uuid(), $1, 'tenant-1', e.id, n::text,
             n % 60 || ' ' || n / 60 % 24 || ' ' || n % 28 + 1 || ' * *', 'Europe/Berlin', true
           FROM generate_series(1, 3000) AS n, extension_api_endpoint e""",
        UUID(registered["installId"]),
    )
    assert (await ask(admin, "adopt", {"dryRun": True}))["adopted"] == 3000
    assert (await ask(admin, "reconcile", {}))["inconsistencies"][0]["repaired"] == 3000

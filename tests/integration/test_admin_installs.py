"""Installs and tenants, as administrators register, switch and remove them."""

import asyncio
from uuid import UUID, uuid4

import asyncpg
import msgspec
import pytest

from service.rules.limits import Limits
from tests.support.admin import Admin, manifest, operator, register
from tests.support.host import Caller, dispatcher, read
from tests.support.platform import Installed, counts

HOURLY = {"endpoint": "/a", "cron": "0 * * * *"}


@pytest.fixture
def admin(pool: asyncpg.Pool) -> Admin:
    """Return an administrator of tenant-1."""
    return Admin(dispatcher(pool, Limits(changes_per_minute=1_000)))


def host_of(admin: Admin, registered: dict[str, str]) -> Caller:
    """Return the extension that was registered."""
    installed = Installed(
        admin.tenant_id,
        UUID(registered["installId"]),
        UUID(registered["registryId"]),
        UUID(registered["versionId"]),
    )
    return Caller(admin.dispatcher, installed)


async def test_a_registered_extension_can_schedule(admin: Admin, pool: asyncpg.Pool) -> None:
    registered = await register(admin, config={"region": "eu"})
    host = host_of(admin, registered)
    assert (await host("create", **HOURLY))["success"] is True
    row = await pool.fetchrow("SELECT * FROM tenant_extension_install")
    assert row is not None
    assert (row["tenant_id"], row["config"]) == ("tenant-1", '{"region": "eu"}')
    assert await pool.fetchval("SELECT content_hash FROM extension_bundle") == "sha256:1.0.0"


async def test_the_ui_of_a_manifest_is_kept(admin: Admin, pool: asyncpg.Pool) -> None:
    shown = {"type": "iframe", "hooks": {"appMenu": {"label": "Reports"}}}
    described = {**manifest("1.0.0", "/a"), "ui": shown}
    await register(admin, manifest=described)
    stored = await pool.fetchval("SELECT ui::text FROM extension_version")
    assert msgspec.json.decode(stored) == shown
    body = {"tenantId": "tenant-1", "contentHash": "sha256:1.0.0"}
    without = {**body, "manifest": manifest("1.0.0", "/a")}
    assert (await admin("registerInstall", **without))["success"]
    other = {**body, "manifest": {**described, "ui": {"type": "page"}}}
    assert (await admin("registerInstall", **other))["code"] == "CONFLICT"
    unstorable = {**body, "manifest": {**described, "ui": {"label": "\0"}}}
    refused = await operator(admin.dispatcher)("registerInstall", **unstorable)
    assert list(refused["fieldErrors"]) == ["manifest.ui"]


async def test_a_second_registration_returns_the_existing_rows(
    admin: Admin, pool: asyncpg.Pool
) -> None:
    first = await register(admin)
    tables = (
        "extension_registry",
        "extension_version",
        "extension_bundle",
        "tenant_extension_install",
        "extension_api_endpoint",
        "ext_scheduler.audit",
    )
    before = await counts(pool, *tables)
    assert await register(admin) == first
    assert await register(admin, contentHash="1.0.0") == first
    assert await counts(pool, *tables) == before


async def test_registering_a_newer_version_leaves_the_install_unchanged(
    admin: Admin, pool: asyncpg.Pool
) -> None:
    first = await register(admin)
    second = await register(admin, "1.1.0", "/b")
    assert second["installId"] == first["installId"]
    assert second["versionId"] != first["versionId"] == second["installedVersionId"]
    assert (
        str(await pool.fetchval("SELECT version_id FROM tenant_extension_install"))
        == (first["versionId"])
    )


async def test_all_errors_of_a_manifest_are_reported_at_once(admin: Admin) -> None:
    listed = [{"method": "GET", "path": "/x"}, {"method": "?", "path": "/x", "handler": "h"}]
    answer = await admin(
        "registerInstall",
        tenantId="tenant-1",
        manifest={
            "name": 3,
            "publisher": "acme",
            "version": "1",
            "runtime": "x" * 256,
            "api": {"endpoints": listed},
        },
        grants="all",
    )
    assert answer["fieldErrors"] == {
        "manifest.name": "Wrong type (expected string)",
        "manifest.runtime": "Invalid runtime",
        "manifest.api.endpoints[0].handler": "Required",
        "contentHash": "Required",
        "grants": "Wrong type (expected array)",
    }
    body = {"tenantId": "tenant-1", "contentHash": "x", "config": {"a": "\0"}}
    wrong = manifest(api={"endpoints": [{"method": "?", "path": "/x", "handler": "h"}]})
    answer = await admin("registerInstall", manifest=wrong, **body)
    assert answer["fieldErrors"] == {
        "manifest.api.endpoints[0]": "Malformed endpoint",
        "config": "Must be JSON-serializable",
    }


async def test_an_install_is_disabled_and_enabled(admin: Admin, pool: asyncpg.Pool) -> None:
    registered = await register(admin)
    host, identity = host_of(admin, registered), registered["installId"]
    await host("create", **HOURLY)
    assert await admin("setInstallEnabled", installId=identity, enabled=False) == {"success": True}
    assert (await host("list"))["code"] == "DENIED"
    assert await counts(pool, "ext_scheduler.timers") == {"ext_scheduler.timers": 1}
    # Nothing fired in the meantime and no planner ran: what is overdue is not made up.
    await pool.execute("UPDATE ext_scheduler.timers SET due_at = now() - interval '3 hours'")
    assert await admin("setInstallEnabled", installId=identity, enabled=True) == {"success": True}
    timer = await pool.fetchrow("SELECT *, due_at > now() AS ahead FROM ext_scheduler.timers")
    assert timer is not None
    assert (timer["ahead"], timer["missed"]) == (True, 0)
    assert len((await host("list"))["schedules"]) == 1


async def test_a_switch_without_effect_writes_no_audit_entry(
    admin: Admin, pool: asyncpg.Pool
) -> None:
    registered = await register(admin)
    before = await counts(pool, "ext_scheduler.audit", "ext_scheduler.idempotency")
    await admin("setInstallEnabled", installId=registered["installId"], enabled=True)
    await admin("setTenantPaused", tenantId="tenant-1", paused=False)
    assert await counts(pool, "ext_scheduler.audit", "ext_scheduler.idempotency") == before


async def test_enabling_repairs_a_foreign_status(admin: Admin, pool: asyncpg.Pool) -> None:
    registered = await register(admin)
    await pool.execute("UPDATE tenant_extension_install SET status = 'suspended'")
    await admin("setInstallEnabled", installId=registered["installId"], enabled=True)
    assert (await host_of(admin, registered)("list"))["schedules"] == []


async def test_a_tenant_is_paused_and_resumed(admin: Admin, pool: asyncpg.Pool) -> None:
    host = host_of(admin, await register(admin))
    await host("create", **HOURLY)
    await admin("setTenantPaused", tenantId="tenant-1", paused=True)
    row = await pool.fetchrow("SELECT * FROM ext_scheduler.tenant_pauses")
    assert row is not None
    assert (row["tenant_id"], row["paused_by"]) == ("tenant-1", "platform/user-1")
    await pool.execute("UPDATE ext_scheduler.timers SET due_at = now() - interval '3 hours'")
    await admin("setTenantPaused", tenantId="tenant-1", paused=False)
    assert await pool.fetchval("SELECT min(due_at) > now() FROM ext_scheduler.timers")
    assert await counts(pool, "ext_scheduler.tenant_pauses") == {"ext_scheduler.tenant_pauses": 0}


async def test_all_schedules_of_an_install_are_disabled(admin: Admin, pool: asyncpg.Pool) -> None:
    registered = await register(admin)
    host = host_of(admin, registered)
    for enabled in (True, True, False):
        await host("create", **HOURLY, enabled=enabled)
    await pool.execute(
        "UPDATE tenant_extension_schedule SET missing_endpoint = true WHERE NOT enabled"
    )
    answer = await admin("disableSchedules", installId=registered["installId"])
    assert answer == {"success": True, "disabled": 2}
    rows = await pool.fetch("SELECT * FROM tenant_extension_schedule")
    assert {(row["enabled"], row["job_id"], row["missing_endpoint"]) for row in rows} == {
        (False, None, False)
    }
    assert await counts(pool, "ext_scheduler.timers") == {"ext_scheduler.timers": 0}
    events = await pool.fetch(
        "SELECT schedule_id FROM ext_scheduler.outbox WHERE type = 'schedule.disabled'"
    )
    assert len(events) == 2
    again = await admin("disableSchedules", installId=registered["installId"])
    assert again == {"success": True, "disabled": 0}


async def test_twenty_equal_requests_make_one_change(admin: Admin, pool: asyncpg.Pool) -> None:
    registered, jti = await register(admin), uuid4()
    body = {"installId": registered["installId"], **HOURLY}
    replies = await asyncio.gather(*(admin.send("createSchedule", body, jti) for _ in range(20)))
    assert len({reply.body for reply in replies}) == 1
    assert read(replies[0])["success"] is True
    tables = ("tenant_extension_schedule", "ext_scheduler.timers")
    assert await counts(pool, *tables) == dict.fromkeys(tables, 1)


async def test_the_same_jti_for_another_request_is_a_conflict(admin: Admin) -> None:
    registered, jti = await register(admin), uuid4()
    body = {"installId": registered["installId"], **HOURLY}
    await admin.send("createSchedule", body, jti)
    other = await admin.send("createSchedule", {**body, "cron": "5 * * * *"}, jti)
    assert (read(other)["code"], other.error is not None) == ("CONFLICT", True)
    # Another subject's jti is another one.
    colleague = Admin(admin.dispatcher, sub="user-2")
    assert read(await colleague.send("createSchedule", body, jti))["success"] is True


async def test_a_change_is_audited_with_its_actor(admin: Admin, pool: asyncpg.Pool) -> None:
    registered, jti = await register(admin), uuid4()
    body = {"installId": registered["installId"], "enabled": False}
    await admin.send("setInstallEnabled", body, jti)
    entry = await pool.fetchrow("SELECT * FROM ext_scheduler.audit WHERE op = 'setInstallEnabled'")
    assert entry is not None
    assert (entry["trigger"], entry["actor"]) == ("admin", "platform/user-1")
    assert (entry["request_id"], entry["changes"]) == (str(jti), '{"enabled": false}')
    event = await pool.fetchrow("SELECT * FROM ext_scheduler.outbox WHERE type LIKE 'install.%'")
    assert event is not None
    assert event["type"] == "install.updated"


async def test_an_operation_requires_its_permission(admin: Admin) -> None:
    reader = Admin(admin.dispatcher, permissions=("extension:read",))
    reply = await reader.send("setTenantPaused", {"tenantId": "tenant-1", "paused": True})
    assert reply.error == (403, "Permission extension:write is missing")
    writer = Admin(admin.dispatcher, permissions=("extension:write",))
    reply = await writer.send("listSchedules", {})
    assert reply.error == (403, "Permission extension:read is missing")
    reply = await admin.send("backfillEndpoints", {})
    assert reply.error == (403, "Only a platform operator may do this")
    assert (await operator(admin.dispatcher)("backfillEndpoints"))["success"] is True


async def test_a_star_needs_an_operators_key_and_names_no_tenant(admin: Admin) -> None:
    reply = await admin.send("listSchedules", {}, tenant_id="*")
    assert reply.error is not None
    assert read(reply)["code"] == "UNAUTHORIZED"
    answer = await operator(admin.dispatcher)("purgeTenant", tenantId="*")
    assert answer["fieldErrors"] == {"tenantId": "Invalid tenantId"}

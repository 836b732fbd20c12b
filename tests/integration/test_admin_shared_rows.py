"""Rows that all tenants share: extensions, versions, bundles and endpoints belong to operators."""

from typing import Any

import asyncpg
import pytest

from service.rules.limits import Limits
from tests.support.admin import Admin, manifest, operator, register
from tests.support.host import dispatcher

SHARED = ("extension_registry", "extension_version", "extension_bundle", "extension_api_endpoint")
REFUSAL = (
    "acme/demo 1.0.0 is not registered with this manifest and content hash, "
    "which takes an operator's key"
)


@pytest.fixture
def admin(pool: asyncpg.Pool) -> Admin:
    """Return an administrator of tenant-1."""
    return Admin(dispatcher(pool, Limits(changes_per_minute=1_000)))


async def shared_rows(pool: asyncpg.Pool) -> list[Any]:
    return [await pool.fetch(f"SELECT * FROM {table} ORDER BY id") for table in SHARED]


def body(tenant_id: str = "tenant-1", **members: Any) -> dict[str, Any]:
    return {
        "tenantId": tenant_id,
        "manifest": manifest(),
        "contentHash": "sha256:1.0.0",
        "grants": ["cap:scheduler.manage"],
        **members,
    }


async def test_a_tenants_key_registers_nothing(admin: Admin, pool: asyncpg.Pool) -> None:
    answer = await admin("registerInstall", **body())
    assert (answer["code"], answer["error"]) == ("CONFLICT", REFUSAL)
    assert await shared_rows(pool) == [[], [], [], []]
    assert await pool.fetchval("SELECT count(*) FROM tenant_extension_install") == 0


async def test_a_tenants_key_installs_what_is_registered(admin: Admin, pool: asyncpg.Pool) -> None:
    registered = await register(Admin(admin.dispatcher, tenant_id="tenant-2"))
    before = await shared_rows(pool)
    installed = await admin("registerInstall", **body())
    assert installed["versionId"] == registered["versionId"]
    assert installed["installId"] != registered["installId"]
    assert await shared_rows(pool) == before
    # As the platform spells it: another order, an extra member, a path without its slash.
    await pool.execute(
        """UPDATE extension_version SET api_endpoints = $1""",
        '[{"handler": "handle", "path": "a", "method": "post", "summary": "x"}]',
    )
    third = Admin(admin.dispatcher, tenant_id="tenant-3")
    assert (await third("registerInstall", **body("tenant-3")))["success"] is True


@pytest.mark.parametrize(
    "members",
    [
        {"contentHash": "sha256:other"},
        {"manifest": manifest("1.0.0", "/b")},
        {"manifest": manifest("1.0.0", "/a", "/b")},
        {"manifest": manifest(capabilities=[])},
        {"manifest": manifest(runtime="native")},
        {
            "manifest": manifest(
                api={
                    "endpoints": [
                        {"method": "POST", "path": "/a", "handler": "handle", "schedulable": False}
                    ]
                }
            )
        },
    ],
    ids=["hash", "endpoint", "more endpoints", "capabilities", "runtime", "schedulable"],
)
async def test_a_difference_has_one_message_for_tenants_and_a_reason_for_operators(
    admin: Admin, pool: asyncpg.Pool, members: dict[str, Any]
) -> None:
    await register(admin)
    before = await shared_rows(pool)
    other = Admin(admin.dispatcher, tenant_id="tenant-2")
    answer = await other("registerInstall", **body("tenant-2", **members))
    assert (answer["code"], answer["error"]) == ("CONFLICT", REFUSAL)
    answer = await operator(admin.dispatcher)("registerInstall", **body("tenant-2", **members))
    assert answer["code"] == "CONFLICT"
    assert answer["error"].startswith("acme/demo 1.0.0 is registered with another ")
    assert await shared_rows(pool) == before
    assert await pool.fetchval("SELECT count(*) FROM tenant_extension_install") == 1


async def test_a_version_without_bundle_is_filled_by_operators_only_after_the_comparison(
    admin: Admin, pool: asyncpg.Pool
) -> None:
    registered = await register(admin)
    other = Admin(admin.dispatcher, tenant_id="tenant-2")
    await register(other)
    await pool.execute("DELETE FROM extension_bundle")
    await pool.execute("DELETE FROM extension_api_endpoint")
    before = await shared_rows(pool)
    everybody = operator(admin.dispatcher)
    grown = body(manifest=manifest("1.0.0", "/a", "/evil"), contentHash="sha256:evil")
    assert (await admin("registerInstall", **grown))["error"] == REFUSAL
    assert (await admin("registerInstall", **body(contentHash="sha256:x")))["error"] == REFUSAL
    assert (await everybody("registerInstall", **grown))["code"] == "CONFLICT"
    assert await shared_rows(pool) == before
    filled = await everybody("registerInstall", **body(contentHash="sha256:late"))
    assert filled["versionId"] == registered["versionId"]
    assert await pool.fetchval("SELECT content_hash FROM extension_bundle") == "sha256:late"
    # The version was there: its endpoints come from its own manifest when they are asked for.
    assert await pool.fetchval("SELECT count(*) FROM extension_api_endpoint") == 0
    for tenant in (admin, other):
        newest = (await tenant("auditLog"))["entries"][0]
        assert newest["actor"] == "operator/operator-1"
        assert newest["changes"]["contentHash"] == "sha256:late"


async def test_a_backfill_is_in_the_audit_of_every_tenant_at_the_version(
    admin: Admin, pool: asyncpg.Pool
) -> None:
    rows = await register(admin)
    other = Admin(admin.dispatcher, tenant_id="tenant-2")
    await register(other)
    elsewhere = Admin(admin.dispatcher, tenant_id="tenant-3")
    await register(elsewhere, "2.0.0")
    await pool.execute(
        "DELETE FROM extension_api_endpoint WHERE version_id = $1", rows["versionId"]
    )
    answer = await operator(admin.dispatcher)("backfillEndpoints")
    assert answer["endpointsCreated"] == 1
    for tenant in (admin, other):
        newest = (await tenant("auditLog"))["entries"][0]
        assert (newest["op"], newest["changes"]) == (
            "backfillEndpoints",
            {"versionId": rows["versionId"], "endpointsCreated": 1},
        )
    assert (await elsewhere("auditLog"))["entries"][0]["op"] == "registerInstall"

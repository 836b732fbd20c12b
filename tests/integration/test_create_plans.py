"""What a create costs follows what is asked, not what is stored, and is not planned each time."""

from typing import Any
from uuid import uuid4

import asyncpg
import msgspec
import pytest

from service.storage.platform import installs
from service.storage.schedules import change_lookup, create_batch, owner_view
from tests.support.measured_dispatcher import rows_read

FILL = """
INSERT INTO tenant_extension_install (id, tenant_id, registry_id, version_id)
  SELECT ('00000000-0000-0000-0001-' || lpad(n::text, 12, '0'))::uuid, 'tenant-' || n % 500,
    gen_random_uuid(), ('00000000-0000-0000-0002-' || lpad(n::text, 12, '0'))::uuid
  FROM generate_series(1, 20000) AS n;
INSERT INTO extension_version (id, registry_id, version)
  SELECT version_id, registry_id, '1' FROM tenant_extension_install;
INSERT INTO tenant_extension_install_config (install_id, tenant_id)
  SELECT id, tenant_id FROM tenant_extension_install;
INSERT INTO extension_api_endpoint (version_id, method, path)
  SELECT version_id, 'POST', '/api/heartbeat' FROM tenant_extension_install;
INSERT INTO tenant_extension_schedule (id, install_id, tenant_id, endpoint_id, cron, name)
  SELECT gen_random_uuid(), i.id, i.tenant_id, gen_random_uuid(), '0 12 * * *', 'name ' || n
  FROM tenant_extension_install i, generate_series(1, 5) AS n;
INSERT INTO ext_scheduler.idempotency
  SELECT tenant_id, 'install:' || install_id, gen_random_uuid(), 'create', 'x', 'x', now()
  FROM tenant_extension_schedule;
INSERT INTO ext_scheduler.rate_windows
  SELECT tenant_id, 'install:' || id, ARRAY[now()], now() FROM tenant_extension_install;
ANALYZE;
"""
FILLED = (
    "tenant_extension_install",
    "tenant_extension_install_config",
    "extension_version",
    "extension_api_endpoint",
    "tenant_extension_schedule",
    "idempotency",
    "rate_windows",
)


@pytest.mark.parametrize("plans", ["force_generic_plan", "force_custom_plan"])
async def test_cost_of_a_create_depends_on_the_batch_not_on_the_table(
    database: str, plans: str
) -> None:
    connection = await asyncpg.connect(database)
    await connection.execute(FILL)
    rows = await connection.fetch(
        "SELECT tenant_id, id, version_id FROM tenant_extension_install ORDER BY id LIMIT 32"
    )
    tenants, ids, versions = ([row[n] for row in rows] for n in range(3))
    asked = [
        tenants,
        ids,
        [f"install:{each}" for each in ids],
        [uuid4() for _ in ids],
        versions,
        ["name 1", None] * 16,
        ["/api/heartbeat"] * 32,
    ]
    await connection.execute(f"SET plan_cache_mode = {plans}")
    one: list[Any] = [each[0] for each in asked]
    for statement, most, values in (
        (create_batch.LOCK, 32 * 3, asked[:2]),
        (create_batch.LOOK_UP, 32 * (1 + 5 + 5 + 1), asked),
        (installs.LOCK, 3, one[:2]),
        (change_lookup.LOAD, 1 + 5 + 5 + 1, [*one, None]),
    ):
        async with connection.transaction():
            plan = await connection.fetchval(
                f"EXPLAIN (ANALYZE, FORMAT JSON, TIMING off) {statement}", *values
            )
        (top,) = msgspec.json.decode(plan)
        assert 0 < rows_read(top["Plan"], *FILLED) <= most, plan
    await connection.close()


async def test_statements_for_batches_reuse_their_plan(database: str) -> None:
    connection = await asyncpg.connect(database)
    await connection.execute(FILL)
    rows = await connection.fetch("SELECT tenant_id, id FROM tenant_extension_install LIMIT 3")
    keys = [row["tenant_id"] for row in rows], [row["id"] for row in rows]
    for statement in (create_batch.LOCK, installs.RIGHTS_OF, owner_view.LIST_MANY):
        for _ in range(8):
            await connection.fetch(statement, *keys)
        plans = await connection.fetchrow(
            "SELECT generic_plans, custom_plans FROM pg_prepared_statements WHERE statement = $1",
            statement,
        )
        assert plans is not None
        assert tuple(plans) == (3, 5), statement
    await connection.close()

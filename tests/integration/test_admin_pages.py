"""Pages cost the same however much there is: read by index, in order, without a sort of it all."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import pytest

from service.storage.engine import keyset
from service.storage.records import audit
from service.storage.runs import history
from service.storage.schedules import admin_search

ID = UUID(int=7)
NOW = datetime(2026, 1, 2, tzinfo=UTC)
FILL = """
INSERT INTO ext_scheduler.audit (tenant_id, at, install_id, op, trigger, actor, request_id)
SELECT 'tenant-' || n % 20, timestamptz '2026-01-01Z' + n * interval '1 second',
  ('00000000-0000-0000-0000-' || lpad((n % 100)::text, 12, '0'))::uuid, 'x', 'admin', 'a', 'r'
FROM generate_series(1, 20000) n;
INSERT INTO ext_scheduler.runs
  (tenant_id, id, install_id, schedule_id, slot, kind, trigger, queued_at)
SELECT 'tenant-' || n % 20, gen_random_uuid(),
  ('00000000-0000-0000-0000-' || lpad((n % 100)::text, 12, '0'))::uuid,
  ('00000000-0000-0000-0000-' || lpad((n % 400)::text, 12, '0'))::uuid,
  timestamptz '2026-01-01Z' + n * interval '1 minute', 'scheduled', 'schedule', now()
FROM generate_series(1, 20000) n;
INSERT INTO tenant_extension_schedule (id, tenant_id, install_id, cron, enabled)
SELECT gen_random_uuid(), 'tenant-' || n % 20,
  ('00000000-0000-0000-0000-' || lpad((n % 400)::text, 12, '0'))::uuid, '0 * * * *', true
FROM generate_series(1, 20000) n;
INSERT INTO ext_scheduler.timers (tenant_id, schedule_id, install_id, cron, timezone, due_at)
SELECT tenant_id, id, install_id, cron, 'UTC', now() FROM tenant_extension_schedule;
"""
RUNS = (NOW, ID, None, keyset.EARLIEST, keyset.LATEST, 50)
PAGES = {
    "audit of a tenant": (audit.OF_TENANT, ("tenant-7", keyset.EARLIEST, NOW, ID, 50, None, None)),
    "audit of an install": (
        audit.OF_INSTALL,
        ("tenant-7", keyset.EARLIEST, NOW, ID, 50, None, None, ID, None),
    ),
    "audit of all": (audit.OF_ALL, (None, keyset.EARLIEST, NOW, ID, 50, None, None)),
    "runs of a schedule": (history.OF_SCHEDULE, (*RUNS, "tenant-7", ID)),
    "runs of an install": (history.OF_INSTALL, (*RUNS, "tenant-7", ID)),
    "runs of a tenant": (history.OF_TENANT, (*RUNS, "tenant-7")),
    "runs of all": (history.OF_ALL, RUNS),
    "schedules of a tenant": (admin_search.OF_TENANT, ("tenant-7", ID, None, None, None, 50)),
    "schedules of all": (admin_search.OF_ALL, ("tenant-7", ID, None, None, None, 50)),
    "failing of a tenant": (
        admin_search.FAILING_OF_TENANT,
        ("tenant-7", ID, None, None, True, 50),
    ),
    "failing of all": (admin_search.FAILING_OF_ALL, ("tenant-7", ID, None, None, True, 50)),
    "schedules by prefix": (
        admin_search.BY_PREFIX,
        ("tenant-7", UUID(int=0), None, None, None, 50, ID, ID),
    ),
    "one schedule": (admin_search.ONE, (ID, "tenant-7")),
}
SMALL = {
    "extension_api_endpoint",
    "extension_registry",
    "tenant_extension_install",
    "tenant_pauses",
}
"""Empty here, and so read whole."""


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for inner in plan.get("Plans", []) for node in nodes(inner))]


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
async def test_pages_are_read_by_index_and_no_further_than_needed(
    pool: asyncpg.Pool, mode: str
) -> None:
    async with pool.acquire() as connection:
        await connection.execute(FILL)
        await connection.execute(
            "ANALYZE ext_scheduler.audit, ext_scheduler.runs, tenant_extension_schedule,"
            " ext_scheduler.timers"
        )
        await connection.execute(f"SET plan_cache_mode = {mode}")
        for name, (statement, values) in PAGES.items():
            text = await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", *values)
            (explained,) = msgspec.json.decode(text)
            for node in nodes(explained["Plan"]):
                relation = node.get("Relation Name")
                if relation not in SMALL | {None}:
                    assert node["Node Type"] != "Seq Scan", (name, node)
                assert node["Actual Rows"] * node["Actual Loops"] <= 1000, (name, node)

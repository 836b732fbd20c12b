"""What the planner and its neighbours cost follows what is due, not what is stored: their
statements use indexes only, over more rows than anybody would want to read."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import pytest

from service.rules.planning import SlotCache
from service.storage.schedules import firing_state, timers
from service.storage.schedules.timers import Timer
from service.worker.planner import PlannerSettings, plan_due

SLOT = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
FILL = """
INSERT INTO tenant_extension_install (id, tenant_id, registry_id, version_id)
  SELECT ('00000000-0000-0000-0001-' || lpad(n::text, 12, '0'))::uuid, 'tenant-' || n,
    gen_random_uuid(), gen_random_uuid()
  FROM generate_series(0, 1999) AS n;
INSERT INTO tenant_extension_schedule (id, install_id, tenant_id, endpoint_id, cron)
  SELECT gen_random_uuid(),
    ('00000000-0000-0000-0001-' || lpad((n % 2000)::text, 12, '0'))::uuid, 'tenant-' || n % 2000,
    gen_random_uuid(), '0 12 * * *'
  FROM generate_series(1, 100000) AS n;
INSERT INTO ext_scheduler.timers
  SELECT tenant_id, id, install_id, cron, timezone,
    '2026-03-02T12:00:00Z'::timestamptz + interval '1 minute' * (row_number() OVER () / 100), 0
  FROM tenant_extension_schedule;
ANALYZE;
"""


A_MILLION = """
INSERT INTO ext_scheduler.timers
  SELECT 'tenant-' || lpad((n / 450)::text, 5, '0'), lpad(n::text, 32, '0')::uuid,
    lpad((n / 450)::text, 32, '0')::uuid, '0 12 * * *', 'UTC',
    '2026-03-03T12:00:00Z'::timestamptz + interval '1 minute' * (n / 1000), 0
  FROM generate_series(1, 900000) AS n;
ANALYZE ext_scheduler.timers;
"""


@pytest.fixture
async def connection(database: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database)
    await connection.execute(FILL)
    yield connection
    await connection.close()


async def scans(connection: asyncpg.Connection, statement: str, *values: Any) -> set[str]:
    """Return the kinds of scan of tables in the statement's plan."""
    text = await connection.fetchval(f"EXPLAIN (FORMAT JSON) {statement}", *values)
    found: set[str] = set()

    def walk(node: dict[str, Any]) -> None:
        if "Relation Name" in node and "Scan" in node["Node Type"]:
            found.add(node["Node Type"])
        for inner in node.get("Plans", []):
            walk(inner)

    walk(msgspec.json.decode(text)[0]["Plan"])
    return found


async def test_statements_of_the_planner_use_indexes_only_over_a_million_timers(
    connection: asyncpg.Connection,
) -> None:
    await connection.execute(A_MILLION)
    assert await connection.fetchval("SELECT count(*) FROM ext_scheduler.timers") == 1_000_000
    due_timers = [Timer(*row) for row in await connection.fetch(timers.TAKE_DUE, SLOT, 1000)]
    assert len(due_timers) == 99
    tenants = [timer.tenant_id for timer in due_timers]
    ids: list[UUID] = [timer.schedule_id for timer in due_timers]
    columns = [[getattr(t, name) for t in due_timers] for name in Timer.__struct_fields__]
    plans = {
        "next due": await scans(connection, timers.NEXT_DUE),
        "take due": await scans(connection, timers.TAKE_DUE, SLOT, 1000),
        "move": await scans(connection, timers.MOVE, *columns),
        "remove": await scans(connection, timers.REMOVE, tenants, ids),
        "schedules": await scans(connection, firing_state.SCHEDULES, tenants, ids),
        "installs": await scans(
            connection, firing_state.ENABLED_INSTALLS, tenants, [t.install_id for t in due_timers]
        ),
    }
    allowed = {"Index Scan", "Index Only Scan", "Bitmap Heap Scan"}
    assert {name: kinds for name, kinds in plans.items() if not kinds or kinds - allowed} == {}


async def test_a_batch_is_planned_by_a_fixed_number_of_statements(
    connection: asyncpg.Connection,
) -> None:
    statements: list[str] = []
    connection.add_query_logger(lambda query: statements.append(query.query))
    settings, slot_cache = PlannerSettings(), SlotCache()
    # The first time, the driver asks for the types of the parameters besides.
    await plan_due(connection, SLOT, settings, slot_cache)
    counts = []
    for minute in (1, 10):
        statements.clear()
        planned = await plan_due(connection, SLOT + timedelta(minutes=minute), settings, slot_cache)
        counts.append((planned.occurrences, len(statements)))
    assert [occurrences for occurrences, _ in counts] == [100, 900]
    assert counts[0][1] == counts[1][1] <= 12

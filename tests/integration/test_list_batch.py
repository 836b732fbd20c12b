"""Lists that are answered together: the same as each alone, and no install sees another's."""

import asyncio
from typing import Any
from uuid import uuid4

import asyncpg
import msgspec
import pytest
from msgspec import structs

from service.messages import Reply
from service.storage.platform import installs
from service.storage.schedules import owner_view
from tests.support.host import Caller, read
from tests.support.measured_dispatcher import MeasuredDispatcher, rows_read
from tests.support.platform import Installed, install

SCHEDULES = """
INSERT INTO tenant_extension_schedule (install_id, tenant_id, endpoint_id, name, cron, timezone,
  enabled, payload_json, created_at, last_run_at, last_run_status, last_error)
SELECT $1, $2::text, e.id, CASE WHEN n % 3 > 0 THEN $2::text || n END, '0 * * * *', 'Europe/Berlin',
  n % 4 > 0, CASE WHEN n % 2 = 0 THEN jsonb_build_object('n', n, 'tenant', $2::text) END,
  timestamptz '2026-03-01' + interval '1 minute' * (n / 3), now(), 'error', $2::text
FROM generate_series(1, $4::integer) n
LEFT JOIN extension_api_endpoint e ON e.version_id = $3 AND e.path = '/api/heartbeat' AND n % 5 > 0
"""
TIMERS = """
INSERT INTO ext_scheduler.timers (tenant_id, schedule_id, install_id, cron, timezone, due_at)
SELECT tenant_id, id, install_id, cron, timezone, timestamptz '2026-04-01'
FROM tenant_extension_schedule WHERE enabled
"""
HUGE = """
INSERT INTO tenant_extension_schedule (install_id, tenant_id, cron, payload_json)
SELECT $1, $2::text, '0 * * * *',
  jsonb_build_object('text', (SELECT string_agg(md5((n * m)::text), '')
    FROM generate_series(1, 3000) m))
FROM generate_series(1, 20) n
"""


async def some(pool: asyncpg.Pool, tenant_id: str, count: int, **replaced: Any) -> Installed:
    """Return an install with that many schedules."""
    installed = await install(pool, tenant_id=tenant_id, **replaced)
    await pool.execute(
        """INSERT INTO extension_api_endpoint (version_id, method, path, handler)
           VALUES ($1, 'POST', '/api/heartbeat', 'h')""",
        installed.version_id,
    )
    ids = (installed.install_id, tenant_id, installed.version_id)
    await pool.execute(SCHEDULES, *ids, count)
    return installed


async def ask(measured: MeasuredDispatcher, installed: Installed, claims: dict[str, Any]) -> Reply:
    return await Caller(measured.dispatcher, installed).send("list", {}, **claims)


@pytest.mark.parametrize("sharded", [False, True], ids=["one node", "several nodes"])
async def test_batched_lists_equal_single_lists(pool: asyncpg.Pool, sharded: bool) -> None:
    many, few = await some(pool, "tenant-1", 50), await some(pool, "tenant-1", 3)
    other, none = await some(pool, "tenant-2", 7), await some(pool, "tenant-3", 0)
    huge = await some(pool, "tenant-4", 2)
    await pool.execute(HUGE, huge.install_id, huge.tenant_id)
    await pool.execute(TIMERS)
    unknown = structs.replace(many, install_id=uuid4())
    asked: list[tuple[Installed, dict[str, Any]]] = [
        (many, {}),
        (few, {}),
        (other, {}),
        (none, {}),
        (await some(pool, "tenant-5", 1, enabled=False), {}),
        (await some(pool, "tenant-6", 1, granted=()), {}),
        (await some(pool, "tenant-7", 1), {"tenant_id": "tenant-1"}),
        (await some(pool, "tenant-8", 1), {"version_id": str(uuid4())}),
        (await some(pool, "tenant-9", 1), {"providers": ["cap:log.emit"]}),
        # These three are for their own statement: unknown, large, no tenant to look up by.
        (unknown, {}),
        (huge, {}),
        (await some(pool, "tenant-10", 4), {"tenant_id": None}),
    ]
    one_by_one, at_once = (
        MeasuredDispatcher(pool, together=False),
        MeasuredDispatcher(pool, together=True, sharded=sharded),
    )
    alone = [await ask(one_by_one, *each) for each in asked]
    together = await asyncio.gather(*(ask(at_once, *each) for each in asked))
    assert [_told(reply) for reply in together] == [_told(reply) for reply in alone]
    assert (one_by_one.connections, at_once.connections) == (12, 2 + 4)
    lists = [read(reply).get("schedules") for reply in together]
    counts = [None if shown is None else len(shown) for shown in lists]
    assert counts == [50, 3, 7, 0, None, None, None, None, None, None, 22, 4]
    assert {each["lastError"] for each in lists[2] or ()} == {"tenant-2"}


def _told(reply: Reply) -> tuple[dict[str, Any], tuple[int, str] | None]:
    return read(reply), reply.error


async def test_two_concurrent_lists_of_one_install_are_both_answered(pool: asyncpg.Pool) -> None:
    installed = await some(pool, "tenant-1", 5)
    at_once = MeasuredDispatcher(pool, together=True)
    replies = await asyncio.gather(*(ask(at_once, installed, {}) for _ in range(10)))
    assert [len(read(reply)["schedules"]) for reply in replies] == [5] * 10
    assert at_once.connections == 2
    assert at_once.statements[owner_view.LIST_MANY] == 2
    assert installs.RIGHTS_OF not in at_once.statements


FILL = """
INSERT INTO tenant_extension_install (id, tenant_id, registry_id, version_id)
  SELECT ('00000000-0000-0000-0001-' || lpad(n::text, 12, '0'))::uuid, 'tenant-' || n % 500,
    gen_random_uuid(), gen_random_uuid()
  FROM generate_series(1, 10000) AS n;
INSERT INTO tenant_extension_schedule (id, install_id, tenant_id, endpoint_id, cron)
  SELECT gen_random_uuid(),
    ('00000000-0000-0000-0001-' || lpad((1 + n % 10000)::text, 12, '0'))::uuid,
    'tenant-' || (1 + n % 10000) % 500, gen_random_uuid(), '0 12 * * *'
  FROM generate_series(1, 100000) AS n;
INSERT INTO ext_scheduler.timers
  SELECT tenant_id, id, install_id, cron, timezone, now(), 0 FROM tenant_extension_schedule;
ANALYZE;
"""
FILLED = ("tenant_extension_install", "tenant_extension_schedule", "timers")


@pytest.mark.parametrize("plans", ["force_generic_plan", "force_custom_plan"])
async def test_cost_of_a_list_depends_on_the_page_not_on_the_table(
    database: str, plans: str
) -> None:
    connection = await asyncpg.connect(database)
    await connection.execute(FILL)
    rows = await connection.fetch(
        "SELECT tenant_id, id FROM tenant_extension_install ORDER BY id LIMIT 32"
    )
    keys = [row["tenant_id"] for row in rows], [row["id"] for row in rows]
    await connection.execute(f"SET plan_cache_mode = {plans}")
    for statement, most in ((installs.RIGHTS_OF, 32), (owner_view.LIST_MANY, 32 * 10)):
        plan = await connection.fetchval(
            f"EXPLAIN (ANALYZE, FORMAT JSON, TIMING off) {statement}", *keys
        )
        (top,) = msgspec.json.decode(plan)
        assert rows_read(top["Plan"], *FILLED) <= 3 * most, plan
    await connection.close()

"""The platform of a rehearsal: its tables, the rows that its code writes, and its job runners.

pg-boss 10 and 12 are schemas ``pgboss10`` and ``pgboss12`` with their own tables; Temporal is a
table of ids. Every minute each fires what its tables hold at that time.
"""

import asyncio
import time
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
from msgspec import Struct

from tests.rehearsal import temporal
from tests.rehearsal.judgement import MINUTE_S, Firing

SCHEMA = (Path(__file__).parents[1] / "support" / "platform_schema.sql").read_text()
KEYS = {10: "PRIMARY KEY (name)", 12: "key text NOT NULL DEFAULT '', PRIMARY KEY (name, key)"}
PG_BOSS = """
CREATE SCHEMA pgboss{version};
CREATE TYPE pgboss{version}.job_state AS ENUM
  ('created', 'retry', 'active', 'completed', 'cancelled', 'failed');
CREATE TABLE pgboss{version}.queue (name text PRIMARY KEY);
CREATE TABLE pgboss{version}.schedule (
  name text NOT NULL REFERENCES pgboss{version}.queue ON DELETE CASCADE, cron text NOT NULL,
  timezone text, data jsonb, options jsonb, {keys});
CREATE TABLE pgboss{version}.job (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(), name text NOT NULL,
  state pgboss{version}.job_state NOT NULL);
CREATE FUNCTION pgboss{version}.delete_queue(queue_name text) RETURNS void LANGUAGE sql AS
  'DELETE FROM pgboss{version}.job WHERE name = queue_name;
   DELETE FROM pgboss{version}.queue WHERE name = queue_name';
"""
REGISTRY = "INSERT INTO extension_registry (id, publisher, name) VALUES ($1, 'acme', 'ticker')"
VERSION = """
INSERT INTO extension_version
  (id, registry_id, version, runtime, main_entry, api_endpoints, capabilities)
VALUES ($1, $2, '1.0.0', 'wasm-js@1', 'dist/main.wasm',
  '[{"method": "POST", "path": "/tick", "handler": "tick"}]', '["cap:scheduler.manage"]')
"""
BUNDLE = "INSERT INTO extension_bundle (id, version_id, content_hash) VALUES ($1, $2, 'sha256:00')"
ENDPOINT = """
INSERT INTO extension_api_endpoint (id, version_id, method, path, handler)
VALUES ($1, $2, 'POST', '/tick', 'tick')
"""
INSTALL = """
INSERT INTO tenant_extension_install (id, tenant_id, registry_id, version_id, granted_caps)
VALUES ($1, $2, $3, $4, '["cap:scheduler.manage"]')
"""
SCHEDULE = """
INSERT INTO tenant_extension_schedule (id, install_id, tenant_id, endpoint_id, cron, enabled)
VALUES ($1, $2, $3, $4, '* * * * *', $5)
"""
WRITE_HANDLE = """
UPDATE tenant_extension_schedule SET job_id = $2, runner_schedule_id = $3 WHERE id = $1
"""
WITHOUT_JOB = """
SELECT id, install_id, tenant_id FROM tenant_extension_schedule
WHERE enabled AND job_id IS NULL AND tenant_id = ANY ($1) ORDER BY id
"""
RUNNERS = {"boss10": "pgboss10", "boss12": "pgboss12", "clock": "temporal", "bare": "pgboss12"}
"""The job runner of each tenant. The schedules of ``bare`` have no handle before the cut-over."""


class Row(Struct, frozen=True):
    """A schedule row as the platform wrote it."""

    id: UUID
    tenant: str
    enabled: bool


class JobRunners:
    """Fires what is in the tables, each minute while it runs, and writes that down."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self.firings: list[Firing] = []
        self._pool = pool
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Fire from the next minute on."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Fire no more, once what has begun is done."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            slot = (time.time() // MINUTE_S + 1) * MINUTE_S
            await asyncio.sleep(slot - time.time())
            await asyncio.shield(self._fire(slot))

    async def _fire(self, slot: float) -> None:
        for schema in sorted(set(RUNNERS.values())):
            column = "id" if schema == "temporal" else "name"
            names = [
                row[0] for row in await self._pool.fetch(f"SELECT {column} FROM {schema}.schedule")
            ]
            if schema != "temporal":
                insert = (
                    f"INSERT INTO {schema}.job (name, state) SELECT unnest($1::text[]), 'completed'"
                )
                await self._pool.execute(insert, names)
            self.firings += [Firing(UUID(name.rpartition(":")[2]), slot, schema) for name in names]


async def build(pool: asyncpg.Pool, each: int) -> tuple[list[Row], UUID]:
    """Make the platform's database: ``each`` enabled schedules of every tenant, and disabled ones.

    Returns them, and an install of tenant ``load`` without any.
    """
    await pool.execute(SCHEMA)
    for version, keys in KEYS.items():
        await pool.execute(PG_BOSS.format(version=version, keys=keys))
    await pool.execute(temporal.SCHEMA)
    registry, version_id, endpoint = uuid4(), uuid4(), uuid4()
    await pool.execute(REGISTRY, registry)
    await pool.execute(VERSION, version_id, registry)
    await pool.execute(BUNDLE, uuid4(), version_id)
    await pool.execute(ENDPOINT, endpoint, version_id)
    rows = []
    for tenant in RUNNERS:
        install = uuid4()
        await pool.execute(INSTALL, install, tenant, registry, version_id)
        for number in range(each + 3):
            row = Row(uuid4(), tenant, number < each)
            await pool.execute(SCHEDULE, row.id, install, tenant, endpoint, row.enabled)
            rows.append(row)
    await give_jobs(pool, [tenant for tenant in RUNNERS if tenant != "bare"])
    load = uuid4()
    await pool.execute(INSTALL, load, "load", registry, version_id)
    return rows, load


async def give_jobs(pool: asyncpg.Pool, tenants: list[str]) -> None:
    """Give every enabled row without a job one of its own, as the platform's code does."""
    for row in await pool.fetch(WITHOUT_JOB, tenants):
        schema = RUNNERS[row["tenant_id"]]
        name = f"extsched:{row['install_id']}:{row['id']}"
        if schema == "temporal":
            await pool.execute("INSERT INTO temporal.schedule VALUES ($1)", name)
        else:
            await pool.execute(
                f"INSERT INTO {schema}.queue VALUES ($1) ON CONFLICT DO NOTHING", name
            )
            await pool.execute(
                f"INSERT INTO {schema}.schedule (name, cron) VALUES ($1, '* * * * *')", name
            )
        await pool.execute(WRITE_HANDLE, row["id"], uuid4(), name)


async def jobs_left(pool: asyncpg.Pool) -> int:
    """Return how many schedules the job runners still have."""
    counts = [
        await pool.fetchval(f"SELECT count(*) FROM {schema}.schedule")
        for schema in sorted(set(RUNNERS.values()))
    ]
    return sum(counts)

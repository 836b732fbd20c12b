"""Installs with their schedules, written by set-based statements."""

from uuid import UUID

import asyncpg
from msgspec import Struct

PATH = "/api/heartbeat"
CRON = "0 * * * *"
SCHEDULES_EACH = 10

REGISTRY = """
WITH registry AS (
  INSERT INTO extension_registry (publisher, name) VALUES ('bench', $1) RETURNING id
), version AS (
  INSERT INTO extension_version (registry_id, version, api_endpoints, capabilities)
  SELECT id, '1.0.0', '[{"method":"POST","path":"/api/heartbeat","handler":"h"}]',
    '["cap:scheduler.manage"]' FROM registry
  RETURNING id, registry_id
), endpoint AS (
  INSERT INTO extension_api_endpoint (version_id, method, path, handler)
  SELECT id, 'POST', '/api/heartbeat', 'h' FROM version
)
INSERT INTO tenant_extension_install (tenant_id, registry_id, version_id, granted_caps)
SELECT $1 || '-' || n, v.registry_id, v.id, '["cap:scheduler.manage"]'
FROM version v, generate_series(1, $2::integer) n
RETURNING id, tenant_id
"""
SCHEDULES = """
INSERT INTO tenant_extension_schedule
  (install_id, tenant_id, endpoint_id, name, cron, payload_json, created_at)
SELECT i.id, i.tenant_id, e.id, 'schedule ' || n, '0 * * * *', '{"report": "daily", "top": 10}',
  now() - n * interval '1 minute'
FROM tenant_extension_install i
JOIN extension_api_endpoint e ON e.version_id = i.version_id, generate_series(1, $2::integer) n
WHERE i.tenant_id LIKE $1 || '-%'
"""
TIMERS = """
INSERT INTO ext_scheduler.timers (tenant_id, schedule_id, install_id, cron, timezone, due_at)
SELECT tenant_id, id, install_id, cron, timezone, now() + interval '1 day'
FROM tenant_extension_schedule WHERE tenant_id LIKE $1 || '-%'
"""


class BenchInstall(Struct, frozen=True):
    """One install; each is its own tenant's only one."""

    id: UUID
    tenant_id: str


async def installs(connection: asyncpg.Connection, prefix: str, count: int) -> list[BenchInstall]:
    """Create that many installs of one extension, without schedules."""
    rows = await connection.fetch(REGISTRY, prefix, count)
    return [BenchInstall(row["id"], row["tenant_id"]) for row in rows]


async def schedules(connection: asyncpg.Connection, prefix: str, each: int) -> None:
    """Give every install of the prefix that many schedules, with timers."""
    await connection.execute(SCHEDULES, prefix, each)
    await connection.execute(TIMERS, prefix)

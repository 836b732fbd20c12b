"""Moving all rows of a tenant from one database to another, and remembering that they moved.

In the database that a tenant leaves, its rows stay: its installs are disabled with status
``moved``, so that no late request changes what nobody reads any more.
"""

from tempfile import SpooledTemporaryFile
from typing import Any

import msgspec
from msgspec import Struct

from service.storage import consistency, removal
from service.storage.engine.connection import Connection

REGISTRY_ROWS = """
SELECT {columns} FROM extension_registry r
WHERE r.id IN (SELECT i.registry_id FROM tenant_extension_install i WHERE i.tenant_id = $1::text)
"""

VERSION_ROWS = """
SELECT {columns} FROM extension_version v
WHERE v.registry_id IN (
  SELECT i.registry_id FROM tenant_extension_install i WHERE i.tenant_id = $1::text)
"""

BUNDLE_ROWS = """
SELECT {columns} FROM extension_bundle b
WHERE b.version_id IN (
  SELECT v.id FROM extension_version v
  JOIN tenant_extension_install i ON i.registry_id = v.registry_id WHERE i.tenant_id = $1::text)
"""

ENDPOINT_ROWS = """
SELECT {columns} FROM extension_api_endpoint e
WHERE e.version_id IN (
  SELECT v.id FROM extension_version v
  JOIN tenant_extension_install i ON i.registry_id = v.registry_id WHERE i.tenant_id = $1::text)
"""

OF_REGISTRY = {
    "public.extension_registry": REGISTRY_ROWS,
    "public.extension_version": VERSION_ROWS,
    "public.extension_bundle": BUNDLE_ROWS,
    "public.extension_api_endpoint": ENDPOINT_ROWS,
}
"""Rows that other tenants may share: added where they are missing."""
OF_TENANT = (
    "public.tenant_extension_install",
    "public.tenant_extension_install_config",
    "public.tenant_extension_install_secrets",
    "public.tenant_extension_schedule",
    "ext_scheduler.tenant_pauses",
    "ext_scheduler.tenant_pools",
    "ext_scheduler.idempotency",
    "ext_scheduler.rate_windows",
    "ext_scheduler.runs",
    "ext_scheduler.run_attempts",
    "ext_scheduler.audit",
    "ext_scheduler.timers",
)
"""Rows of the tenant alone: replaced."""
LEFT = ("ext_scheduler.active_runs", "ext_scheduler.outbox", "ext_scheduler.webhook_deliveries")
"""What the database that a tenant leaves still finishes itself."""
BUFFER_BYTES = 16 * 2**20

# Numbers order the entries of one database: the target gives its own, in the same order.
COLUMNS = """
SELECT array_agg(column_name::text ORDER BY ordinal_position) FROM information_schema.columns
WHERE table_schema = $1::text AND table_name = $2::text
  AND column_name <> 'sequence'
"""

ROWS = "SELECT {columns} FROM {table} WHERE tenant_id = $1::text"

ENTRIES = f"{ROWS} ORDER BY sequence, at, id"

COUNT = "SELECT count(*) FROM {table} WHERE tenant_id = $1::text"

DISCARD = "DELETE FROM {table} WHERE tenant_id = $1::text"

ARRIVING = "CREATE TEMPORARY TABLE arriving_{name} (LIKE {table}) ON COMMIT DROP"

ADD_MISSING = """
INSERT INTO {table} ({columns}) SELECT {columns} FROM arriving_{name} ON CONFLICT (id) DO NOTHING
"""

RUNNING = """
SELECT count(*) FROM ext_scheduler.runs WHERE tenant_id = $1::text AND status = 'running'
"""

PAUSED_BY = "SELECT reason FROM ext_scheduler.tenant_pauses WHERE tenant_id = $1::text"

SWITCHES = """
SELECT id::text AS id, is_enabled, status FROM tenant_extension_install
WHERE tenant_id = $1::text AND status IS DISTINCT FROM 'moved'
"""

MARK = """
UPDATE tenant_extension_install SET is_enabled = false, status = 'moved'
WHERE tenant_id = $1::text
"""

RESTORE = """
UPDATE tenant_extension_install i SET is_enabled = w.is_enabled, status = w.status
FROM unnest($2::uuid[], $3::boolean[], $4::text[]) AS w (id, is_enabled, status)
WHERE i.tenant_id = $1::text AND i.id = w.id AND i.status = 'moved'
"""


class InstallSwitch(Struct, frozen=True):
    """What an install's switches were before its tenant moved."""

    id: str
    is_enabled: bool | None
    status: str | None


async def running(connection: Connection, tenant_id: str) -> int:
    """Count the runs that are being called."""
    count: int = await connection.fetchval(RUNNING, tenant_id)
    return count


async def pause_reason(connection: Connection, tenant_id: str) -> str | None:
    """Return why a tenant is paused, None where it is not, empty without a reason."""
    row = await connection.fetchrow(PAUSED_BY, tenant_id)
    return None if row is None else row["reason"] or ""


async def move(source: Connection, target: Connection, tenant_id: str) -> int:
    """Copy a tenant's rows, and mark its installs as moved; return how many rows it has.

    What the target has of the tenant is replaced. Nothing happens where they are marked already:
    then the target has them.
    """
    async with source.transaction():
        await removal.lock_installs_of(source, tenant_id)
        switches = [InstallSwitch(*row) for row in await source.fetch(SWITCHES, tenant_id)]
        if not switches:
            return 0
        async with target.transaction():
            await discard(target, tenant_id)
            for table, query in OF_REGISTRY.items():
                await _add_missing(source, target, table, query, tenant_id)
            rows = [await _copy(source, target, table, tenant_id) for table in OF_TENANT]
        text = msgspec.json.encode(switches).decode()
        await consistency.set_metadata_value(source, _key(tenant_id), text)
        await source.execute(MARK, tenant_id)
    return sum(rows)


async def discard(connection: Connection, tenant_id: str) -> None:
    """Remove every row of a tenant, from a database that it is not assigned to."""
    for table in reversed((*OF_TENANT, *LEFT)):
        await connection.execute(DISCARD.format(table=table), tenant_id)


async def restore(connection: Connection, tenant_id: str) -> None:
    """Switch installs that were marked as moved to what they were."""
    text = await consistency.metadata_value(connection, _key(tenant_id))
    if text is None:
        return
    switches = msgspec.json.decode(text, type=list[InstallSwitch])
    columns = zip(*((s.id, s.is_enabled, s.status) for s in switches), strict=True)
    await connection.execute(RESTORE, tenant_id, *map(list, columns))


def _key(tenant_id: str) -> str:
    return f"moved:{tenant_id}"


async def _add_missing(
    source: Connection, target: Connection, table: str, query: str, tenant_id: str
) -> None:
    name = table.rpartition(".")[2]
    await target.execute(ARRIVING.format(name=name, table=table))
    columns = await _transfer(source, target, table, query, tenant_id, into=f"arriving_{name}")
    listed = ", ".join(columns)
    await target.execute(ADD_MISSING.format(table=table, columns=listed, name=name))


async def _copy(source: Connection, target: Connection, table: str, tenant_id: str) -> int:
    rows = ENTRIES if table == "ext_scheduler.audit" else ROWS
    query = rows.replace("{table}", table)
    await _transfer(source, target, table, query, tenant_id)
    count: int = await target.fetchval(COUNT.format(table=table), tenant_id)
    return count


async def _transfer(
    source: Connection,
    target: Connection,
    table: str,
    query: str,
    tenant_id: str,
    into: str = "",
) -> list[str]:
    schema, _, name = table.partition(".")
    columns: list[str] = await source.fetchval(COLUMNS, schema, name)
    listed = ", ".join(f'"{column}"' for column in columns)
    with SpooledTemporaryFile(BUFFER_BYTES) as buffer:
        file: Any = buffer
        await source.copy_from_query(
            query.format(columns=listed), tenant_id, output=file, format="binary"
        )
        buffer.seek(0)
        await target.copy_to_table(
            into or name,
            schema_name=None if into else schema,
            source=file,
            columns=columns,
            format="binary",
        )
    return columns

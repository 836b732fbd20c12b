"""Audit entries are numbered, also in a table that was distributed before there were numbers."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from service.storage.engine import citus
from service.storage.engine.connection import Connection
from service.storage.engine.migrate import CREATE_MIGRATIONS_TABLE, available, migrate
from service.storage.records import audit
from service.storage.records.audit import NewAuditEntry
from tests.citus.cluster import CitusCluster

NOW = datetime(2027, 3, 2, 12, 0, tzinfo=UTC)
NUMBERED_SINCE = 12
RECORD = "INSERT INTO ext_scheduler.migrations (version, name, checksum) VALUES ($1, $2, $3)"


@pytest.fixture
async def distributed_before(cluster: CitusCluster) -> AsyncIterator[asyncpg.Connection]:
    """Yield a connection to a database that the release before has migrated and distributed."""
    connection = await asyncpg.connect(await cluster.create_database("before"))
    await connection.execute(CREATE_MIGRATIONS_TABLE)
    for each in available()[: NUMBERED_SINCE - 1]:
        await connection.execute(each.sql)
        await connection.execute(RECORD, each.version, each.name, each.checksum)
    await citus.place(connection)
    yield connection
    await connection.close()
    await cluster.drop_database("before")


async def write(connection: Connection, *tenants: str, minute: int) -> None:
    entries = [
        NewAuditEntry(
            tenant_id=tenant_id,
            install_id=None,
            schedule_id=None,
            op="setTenantPaused",
            trigger="admin",
            actor="me",
            request_id="1",
            changes="{}",
        )
        for tenant_id in tenants
    ]
    await audit.insert(connection, entries, NOW + timedelta(minutes=minute))


async def test_a_distributed_table_is_numbered_from_then_on(
    distributed_before: asyncpg.Connection,
) -> None:
    connection = distributed_before
    await write(connection, "a", "b", minute=5)
    assert next(each.version for each in await migrate(connection)) == NUMBERED_SINCE
    await write(connection, "a", "b", "c", minute=3)
    await write(connection, "a", minute=1)
    rows = await connection.fetch(
        "SELECT tenant_id, sequence FROM ext_scheduler.audit ORDER BY sequence, tenant_id"
    )
    assert [tuple(row) for row in rows] == [
        ("a", 0),
        ("b", 0),
        ("a", 1),
        ("b", 2),
        ("c", 3),
        ("a", 4),
    ]


async def test_a_table_is_numbered_that_is_distributed_with_its_numbers(
    pool: asyncpg.Pool,
) -> None:
    async with pool.acquire() as connection:
        await write(connection, "a", "b", minute=5)
        await write(connection, "a", minute=1)
    rows = await pool.fetch("SELECT tenant_id FROM ext_scheduler.audit ORDER BY sequence")
    assert [row[0] for row in rows] == ["a", "b", "a"]

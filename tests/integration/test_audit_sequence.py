"""The numbers of audit entries: the order of their commits, whatever the clock says."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from service.storage import tenant_move
from service.storage.engine import grants
from service.storage.engine.migrate import CREATE_MIGRATIONS_TABLE, available, migrate
from service.storage.records import audit
from service.storage.records.audit import NewAuditEntry
from tests.support.database_roles import two_roles

NOW = datetime(2027, 3, 2, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
IN_ORDER = "SELECT request_id FROM ext_scheduler.audit ORDER BY sequence, at"
# As a program of the release before writes one, which knows of no number.
UNNUMBERED = """
INSERT INTO ext_scheduler.audit (tenant_id, op, trigger, actor, request_id, changes, at)
VALUES ('acme', 'setTenantPaused', 'admin', 'me', $1, '{}', $2)
"""
NUMBERED_SINCE = 12


def entry(request_id: str) -> NewAuditEntry:
    return NewAuditEntry(
        tenant_id="acme",
        install_id=None,
        schedule_id=None,
        op="setTenantPaused",
        trigger="admin",
        actor="me",
        request_id=request_id,
        changes="{}",
    )


async def write(connection: asyncpg.Connection, request_id: str, minute: int) -> None:
    await audit.insert(connection, [entry(request_id)], NOW + minute * MINUTE)


async def in_order(connection: asyncpg.Connection) -> list[str]:
    return [row[0] for row in await connection.fetch(IN_ORDER)]


async def migrate_to_before(connection: asyncpg.Connection) -> None:
    await connection.execute(CREATE_MIGRATIONS_TABLE)
    for migration in available()[: NUMBERED_SINCE - 1]:
        await connection.execute(migration.sql)


@pytest.fixture
async def other(empty_database: str) -> AsyncIterator[asyncpg.Connection]:
    """Yield a connection to the database of another cell."""
    connection = await asyncpg.connect(empty_database)
    await migrate(connection)
    yield connection
    await connection.close()


async def test_entries_are_numbered_as_they_are_written(connection: asyncpg.Connection) -> None:
    await write(connection, "first", 61)
    await write(connection, "second", 32)
    await audit.insert(connection, [entry("third"), entry("fourth")], NOW + 32 * MINUTE)
    await connection.execute(UNNUMBERED, "fifth", NOW)
    assert await in_order(connection) == ["first", "second", "third", "fourth", "fifth"]


async def test_a_table_with_entries_is_numbered_from_now_on_and_not_rewritten(
    empty_database: str,
) -> None:
    connection = await asyncpg.connect(empty_database)
    await migrate_to_before(connection)
    await connection.execute(UNNUMBERED, "later", NOW + MINUTE)
    await connection.execute(UNNUMBERED, "earlier", NOW)
    file = "SELECT pg_relation_filenode('ext_scheduler.audit')"
    before = await connection.fetchval(file)
    await connection.execute(available()[NUMBERED_SINCE - 1].sql)
    assert await connection.fetchval(file) == before
    await write(connection, "last", -5)
    assert await in_order(connection) == ["earlier", "later", "last"]
    numbers = await connection.fetch("SELECT sequence FROM ext_scheduler.audit ORDER BY sequence")
    assert [row[0] for row in numbers] == [0, 0, 1]
    await connection.close()


async def test_a_role_that_was_granted_by_the_release_before_writes_on(empty_database: str) -> None:
    async with two_roles(empty_database, granted=False) as roles:
        owner = await asyncpg.connect(roles.owner_dsn)
        await migrate_to_before(owner)
        await owner.execute(grants.as_sql(roles.runtime))
        runtime = await asyncpg.connect(roles.runtime_dsn)
        await runtime.execute(UNNUMBERED, "first", NOW)
        await owner.execute(available()[NUMBERED_SINCE - 1].sql)
        await runtime.execute(UNNUMBERED, "second", NOW - MINUTE)
        await write(runtime, "third", -2)
        assert await in_order(runtime) == ["first", "second", "third"]
        await runtime.close()
        await owner.close()


async def test_a_tenant_that_moved_keeps_its_order_before_what_is_written_then(
    connection: asyncpg.Connection, other: asyncpg.Connection
) -> None:
    for number in range(20):
        await write(connection, f"of others {number}", number)
    await connection.execute("UPDATE ext_scheduler.audit SET tenant_id = 'other'")
    await write(connection, "first", 61)
    await write(connection, "second", 32)
    await connection.execute(
        """INSERT INTO tenant_extension_install (id, tenant_id, registry_id, version_id)
           VALUES (gen_random_uuid(), 'acme', gen_random_uuid(), gen_random_uuid())"""
    )
    await tenant_move.move(connection, other, "acme")
    assert await in_order(other) == ["first", "second"]
    await write(other, "third", 10)
    assert await in_order(other) == ["first", "second", "third"]

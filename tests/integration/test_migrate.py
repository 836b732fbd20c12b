"""Migrations: once each, by many at once, and never over what does not fit."""

import asyncio

import asyncpg
import pytest

from service.storage.engine.migrate import MigrationError, as_sql, available, migrate, pending


async def test_concurrent_migrations_apply_each_script_once(empty_database: str) -> None:
    connections = await asyncio.gather(*(asyncpg.connect(empty_database) for _ in range(5)))
    applied = await asyncio.gather(*map(migrate, connections))
    names = [migration.name for each in applied for migration in each]
    assert names == [migration.name for migration in available()]
    assert await migrate(connections[0]) == []
    await asyncio.gather(*(connection.close() for connection in connections))


async def test_the_printed_script_leaves_no_migration_pending(empty_database: str) -> None:
    connection = await asyncpg.connect(empty_database)
    await connection.execute(as_sql(available()))
    assert await pending(connection) == []
    await connection.close()


async def test_a_changed_migration_is_refused(database: str) -> None:
    connection = await asyncpg.connect(database)
    await connection.execute("UPDATE ext_scheduler.migrations SET checksum = 'x' WHERE version = 2")
    with pytest.raises(MigrationError, match="0002_create_service_schema was changed"):
        await migrate(connection)
    await connection.close()


async def test_a_database_from_a_later_release_is_refused(database: str) -> None:
    connection = await asyncpg.connect(database)
    await connection.execute("INSERT INTO ext_scheduler.migrations VALUES (9999, 'future', 'x')")
    with pytest.raises(MigrationError, match="9999_future, which this release does not know"):
        await migrate(connection)
    await connection.close()


async def test_existing_tables_of_the_platform_stay_unchanged(empty_database: str) -> None:
    connection = await asyncpg.connect(empty_database)
    await connection.execute(
        """CREATE TABLE tenant_extension_schedule (
             id uuid PRIMARY KEY, install_id uuid NOT NULL, tenant_id text NOT NULL,
             endpoint_id uuid NOT NULL, name varchar(128), cron text NOT NULL,
             timezone varchar(64) DEFAULT 'UTC', enabled boolean DEFAULT true, payload_json jsonb,
             job_id uuid, runner_schedule_id varchar(255), last_run_at timestamp,
             last_run_status varchar(32), last_error text, created_at timestamp DEFAULT now(),
             updated_at timestamp DEFAULT now(), theirs integer DEFAULT 1)"""
    )
    await connection.execute(
        """INSERT INTO tenant_extension_schedule (id, install_id, tenant_id, endpoint_id, cron)
           VALUES (gen_random_uuid(), gen_random_uuid(), 't', gen_random_uuid(), '0 * * * *')"""
    )
    await migrate(connection)
    row = await connection.fetchrow("SELECT * FROM tenant_extension_schedule")
    assert row is not None
    assert (row["theirs"], row["revision"], row["missing_endpoint"]) == (1, 1, False)
    kind = await connection.fetchval(
        """SELECT data_type FROM information_schema.columns
           WHERE table_name = 'tenant_extension_schedule' AND column_name = 'created_at'"""
    )
    assert kind == "timestamp without time zone"
    await connection.close()

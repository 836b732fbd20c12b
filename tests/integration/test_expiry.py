"""What is kept for a time only, and who removes it."""

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from service.storage.engine import advisory_lock
from service.storage.records import expiry
from service.worker.maintenance import MaintenanceSettings, remove_expired
from tests.support.eventually import eventually
from tests.support.platform import waits_for_a_lock

NOW = datetime(2026, 3, 4, 12, 0, 1, tzinfo=UTC)
SETTINGS = MaintenanceSettings(batch=10)


EXPIRING = [
    (
        "idempotency",
        (
            "INSERT INTO ext_scheduler.idempotency"
            " SELECT 't', 'install:x', gen_random_uuid(), 'create', 'x', '', $1::timestamptz"
            " FROM generate_series(1, $2::integer)"
        ),
        timedelta(hours=24),
    ),
    (
        "rate_windows",
        (
            "INSERT INTO ext_scheduler.rate_windows"
            " SELECT 't', n || $1::text, '{}', $1::timestamptz FROM"
            " generate_series(1, $2::integer) AS n"
        ),
        timedelta(minutes=1),
    ),
    (
        "audit",
        (
            "INSERT INTO ext_scheduler.audit (tenant_id, at, op, trigger, actor, request_id)"
            " SELECT 't', $1::timestamptz, 'create', 'host_api', 'a', 'r'"
            " FROM generate_series(1, $2::integer)"
        ),
        timedelta(days=400),
    ),
    (
        "pgqueuer_log",
        (
            "INSERT INTO ext_scheduler.pgqueuer_log (created, job_id, status, priority, entrypoint)"
            " SELECT $1::timestamptz, 1, 'successful', 0, 'x' FROM generate_series(1, $2::integer)"
        ),
        timedelta(days=1),
    ),
    (
        "runs",
        (
            "INSERT INTO ext_scheduler.runs"
            " (tenant_id, id, install_id, schedule_id, slot, kind, trigger, queued_at)"
            " SELECT 't', gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), $1::timestamptz,"
            " 'scheduled', 'schedule', $1::timestamptz FROM generate_series(1, $2::integer)"
        ),
        timedelta(days=30),
    ),
]


@pytest.mark.parametrize(("table", "insert", "age"), EXPIRING, ids=[each[0] for each in EXPIRING])
async def test_expired_rows_are_removed(
    connection: asyncpg.Connection, table: str, insert: str, age: timedelta
) -> None:
    insert = insert.replace("$1::text", "($1::timestamptz)::text")
    await connection.execute(insert, NOW - age - timedelta(seconds=1), 25)
    await connection.execute(insert, NOW - age + timedelta(seconds=1), 3)
    removed = await remove_expired(connection, NOW, SETTINGS)
    assert list(removed.values()) == [25]
    assert await connection.fetchval(f"SELECT count(*) FROM ext_scheduler.{table}") == 3


async def leave_an_old_window(connection: asyncpg.Connection) -> None:
    await connection.execute(
        "INSERT INTO ext_scheduler.rate_windows VALUES ('t', 'install:1', '{}', $1)",
        NOW - timedelta(hours=1),
    )


async def test_a_row_rewritten_during_expiry_stays(
    database: str, connection: asyncpg.Connection
) -> None:
    await leave_an_old_window(connection)
    change = await asyncpg.connect(database)
    try:
        async with change.transaction():
            await change.execute("UPDATE ext_scheduler.rate_windows SET updated_at = $1", NOW)
            removing = asyncio.create_task(remove_expired(connection, NOW, SETTINGS))
            await eventually(lambda: waits_for_a_lock(change))
        assert await removing == {}
        assert await change.fetchval("SELECT updated_at FROM ext_scheduler.rate_windows") == NOW
    finally:
        await change.close()


async def test_one_process_at_a_time_removes_expired_rows(
    database: str, connection: asyncpg.Connection
) -> None:
    await leave_an_old_window(connection)
    other = await asyncpg.connect(database)
    try:
        async with other.transaction():
            assert await advisory_lock.try_lock(other, expiry.LOCK_KEY)
            assert await remove_expired(connection, NOW, SETTINGS) == {}
        assert await remove_expired(connection, NOW, SETTINGS) == {"rate_windows": 1}
    finally:
        await other.close()

"""Partitions, expiry, mending and zone data against a real database."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest
from msgspec import structs

from service.rules.planning import SlotCache
from service.runtime.metrics import Metrics
from service.storage import consistency
from service.storage.runs import partitions
from service.worker.maintenance import (
    Maintenance,
    MaintenanceSettings,
    RepairReport,
    prepare_partitions,
    repair,
)
from service.worker.planner import PlannerSettings, plan_due
from service.worker.zone_data import follow_zone_data
from tests.support import schedule_rows
from tests.support.eventually import eventually
from tests.support.platform import TICK, Installed, install

NOW = datetime(2026, 3, 4, 12, 0, 1, tzinfo=UTC)
SLOT = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
NEXT = SLOT + timedelta(minutes=5)
SETTINGS = MaintenanceSettings(batch=10)


@pytest.fixture(params=[False, True], ids=["one node", "several nodes"])
def settings(request: pytest.FixtureRequest) -> MaintenanceSettings:
    """As on one database node, and with the statements for several."""
    return structs.replace(SETTINGS, sharded=request.param)


@pytest.fixture
async def made(connection: asyncpg.Connection) -> Installed:
    return await install(connection, materialised=TICK)


async def partition_of(connection: asyncpg.Connection, slot: datetime) -> str:
    name: str = await connection.fetchval(
        "INSERT INTO ext_scheduler.runs"
        " (tenant_id, id, install_id, schedule_id, slot, kind, trigger, queued_at)"
        " VALUES ('t', $1, $1, $1, $2, 'scheduled', 'schedule', $2)"
        " RETURNING tableoid::regclass::text",
        uuid4(),
        slot,
    )
    return name


async def test_partitions_exist_for_the_coming_weeks(
    connection: asyncpg.Connection,
) -> None:
    await prepare_partitions(connection, NOW)
    weeks = await partitions.existing(connection)
    assert [week.start.day for week in weeks] == [23, 2, 9, 16, 23]
    assert await partition_of(connection, SLOT) == "ext_scheduler.runs_20260302"
    assert (
        await partition_of(connection, SLOT + timedelta(days=19)) == "ext_scheduler.runs_20260323"
    )
    await prepare_partitions(connection, NOW)
    assert len(await partitions.existing(connection)) == 5


async def test_rows_without_a_partition_are_kept(
    connection: asyncpg.Connection,
) -> None:
    assert await partition_of(connection, SLOT) == "ext_scheduler.runs_default"
    await prepare_partitions(connection, NOW)
    assert await partition_of(connection, SLOT) == "ext_scheduler.runs_default"
    assert await partition_of(connection, SLOT + timedelta(days=7)) == "ext_scheduler.runs_20260309"


async def test_workers_that_start_together_agree_on_partitions(pool: asyncpg.Pool) -> None:
    async def start() -> None:
        async with pool.acquire() as own:
            await prepare_partitions(own, NOW)

    await asyncio.gather(*(start() for _ in range(6)))
    async with pool.acquire() as own:
        await prepare_partitions(own, NOW)
        assert len(await partitions.existing(own)) == 5


async def test_old_runs_are_removed_by_partition(connection: asyncpg.Connection) -> None:
    await prepare_partitions(connection, NOW)
    for slot in (SLOT, SLOT + timedelta(days=7)):
        await partition_of(connection, slot)
    # The week of 2 March ended on the 9th.
    await prepare_partitions(connection, datetime(2026, 4, 8, tzinfo=UTC))
    slots = await connection.fetch("SELECT slot FROM ext_scheduler.runs")
    assert [row["slot"] for row in slots] == [SLOT + timedelta(days=7)]


async def test_busy_table_postpones_partition_changes(
    connection: asyncpg.Connection, database: str
) -> None:
    reader = await asyncpg.connect(database)
    try:
        async with reader.transaction():
            await reader.execute("LOCK TABLE ext_scheduler.runs IN ROW EXCLUSIVE MODE")
            await prepare_partitions(connection, NOW)
            assert await partitions.existing(connection) == []
    finally:
        await reader.close()


async def test_a_run_planned_while_its_partition_is_made_ends_no_worker(
    connection: asyncpg.Connection, pool: asyncpg.Pool, database: str
) -> None:
    await prepare_partitions(connection, NOW - timedelta(weeks=4))  # up to the week before
    writer = await asyncpg.connect(database)
    try:
        async with writer.transaction():
            assert await partition_of(writer, SLOT) == "ext_scheduler.runs_default"
            making = asyncio.create_task(prepare_partitions(connection, NOW))
            await eventually(lambda: waits_for_a_lock(pool))
        await making
    finally:
        await writer.close()
    await prepare_partitions(connection, NOW)
    assert await partition_of(connection, SLOT) == "ext_scheduler.runs_default"
    assert await partition_of(connection, SLOT + timedelta(days=7)) == "ext_scheduler.runs_20260309"


async def waits_for_a_lock(pool: asyncpg.Pool) -> bool:
    return await pool.fetchval(  # type: ignore[no-any-return]  # a boolean
        "SELECT count(*) > 0 FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )


async def test_enabled_row_of_another_writer_gets_a_timer_from_now(
    connection: asyncpg.Connection, made: Installed, settings: MaintenanceSettings
) -> None:
    id_ = await schedule_rows.schedule(connection, made)
    assert (await repair(connection, NOW, settings, SlotCache())).timers_added == 1
    assert await schedule_rows.due_at(connection, id_) == NEXT
    row = await connection.fetchrow("SELECT * FROM tenant_extension_schedule")
    assert row is not None
    assert row["job_id"] == id_
    assert row["runner_schedule_id"] == f"extsched:{made.install_id}:{id_}"
    assert await repair(connection, NOW, settings, SlotCache()) == RepairReport()


async def test_disabled_or_orphaned_rows_get_no_timer(
    connection: asyncpg.Connection, made: Installed, settings: MaintenanceSettings
) -> None:
    await schedule_rows.schedule(connection, made, enabled=False)
    gone = await install(connection, tenant_id="tenant-b", materialised=TICK)
    await schedule_rows.schedule(connection, gone)
    await connection.execute("DELETE FROM tenant_extension_install WHERE id = $1", gone.install_id)
    assert await repair(connection, NOW, settings, SlotCache()) == RepairReport()


async def test_row_that_cannot_be_planned_gets_a_reason_and_delays_no_other_row(
    connection: asyncpg.Connection, made: Installed, settings: MaintenanceSettings
) -> None:
    bad = [await schedule_rows.schedule(connection, made, cron="rubbish") for _ in range(25)]
    good = await schedule_rows.schedule(connection, made)
    report = await repair(connection, NOW, settings, SlotCache())
    assert (report.timers_added, report.unplannable) == (1, 25)
    assert await schedule_rows.due_at(connection, good) == NEXT
    error = await connection.fetchval(
        "SELECT last_error FROM tenant_extension_schedule WHERE id = $1", bad[0]
    )
    assert error.startswith("Invalid cron expression")


async def test_timer_without_its_schedule_is_removed(
    connection: asyncpg.Connection, made: Installed, settings: MaintenanceSettings
) -> None:
    id_ = await schedule_rows.schedule(connection, made, due_at=NEXT)
    await connection.execute("UPDATE tenant_extension_schedule SET enabled = false")
    assert (await repair(connection, NOW, settings, SlotCache())).timers_removed == 1
    assert await schedule_rows.due_at(connection, id_) is None


async def enable(connection: asyncpg.Connection, id_: UUID) -> None:
    """Enable a schedule and set its timer, as a change does."""
    await connection.execute("UPDATE tenant_extension_schedule SET enabled = true")
    await connection.execute(
        "UPDATE ext_scheduler.timers SET due_at = $2 WHERE schedule_id = $1", id_, NEXT
    )


async def test_timer_of_a_schedule_enabled_after_the_query_stays(
    connection: asyncpg.Connection, made: Installed
) -> None:
    id_ = await schedule_rows.schedule(connection, made, due_at=SLOT, enabled=False)
    found = await consistency.timers_without_schedule(connection, None, 10)
    assert [place.schedule_id for place in found] == [id_]
    await enable(connection, id_)
    async with connection.transaction():
        assert await consistency.remove_timers(connection, found) == 0
    assert await schedule_rows.due_at(connection, id_) == NEXT


async def test_timer_of_a_schedule_being_enabled_stays(
    connection: asyncpg.Connection, database: str, made: Installed
) -> None:
    id_ = await schedule_rows.schedule(connection, made, due_at=SLOT, enabled=False)
    changing = await asyncpg.connect(database)
    try:
        async with changing.transaction():
            await enable(changing, id_)
            async with asyncio.timeout(60):  # neither waited for nor removed
                assert (await repair(connection, NOW, SETTINGS, SlotCache())).timers_removed == 0
        assert await schedule_rows.due_at(changing, id_) == NEXT
    finally:
        await changing.close()


async def test_queued_run_without_a_job_gets_one(
    connection: asyncpg.Connection, made: Installed
) -> None:
    await schedule_rows.schedule(connection, made, due_at=SLOT)
    await plan_due(connection, NOW, PlannerSettings(), SlotCache())
    later = NOW + timedelta(minutes=3)
    assert (await repair(connection, later, SETTINGS, SlotCache())).jobs_added == 0
    before = await connection.fetchrow("DELETE FROM ext_scheduler.pgqueuer RETURNING *")
    assert (await repair(connection, NOW, SETTINGS, SlotCache())).jobs_added == 0, (
        "too soon to tell"
    )
    assert (await repair(connection, later, SETTINGS, SlotCache())).jobs_added == 1
    after = await connection.fetchrow("SELECT * FROM ext_scheduler.pgqueuer")
    assert before is not None
    assert after is not None
    assert (after["payload"], after["dedupe_key"]) == (before["payload"], before["dedupe_key"])


async def test_run_that_lost_its_job_before_a_long_outage_gets_one(
    connection: asyncpg.Connection, made: Installed
) -> None:
    assert await repair(connection, NOW, SETTINGS, SlotCache()) == RepairReport()
    await schedule_rows.schedule(connection, made, due_at=SLOT)
    await plan_due(connection, NOW, PlannerSettings(), SlotCache())
    await connection.execute("DELETE FROM ext_scheduler.pgqueuer")
    later = NOW + timedelta(days=3)
    assert (await repair(connection, later, SETTINGS, SlotCache())).jobs_added == 1


async def test_ended_run_gets_no_new_job(connection: asyncpg.Connection, made: Installed) -> None:
    await schedule_rows.schedule(connection, made, due_at=SLOT)
    await plan_due(connection, NOW, PlannerSettings(), SlotCache())
    await connection.execute("DELETE FROM ext_scheduler.pgqueuer")
    await connection.execute("UPDATE ext_scheduler.runs SET status = 'success'")
    later = NOW + timedelta(minutes=3)
    assert await repair(connection, later, SETTINGS, SlotCache()) == RepairReport()


async def test_other_zone_data_mean_other_timers(
    connection: asyncpg.Connection, made: Installed
) -> None:
    wrong = NOW + timedelta(days=1)
    ids = [await schedule_rows.schedule(connection, made, due_at=wrong) for _ in range(25)]
    overdue = await schedule_rows.schedule(connection, made, due_at=SLOT)
    assert await follow_zone_data(connection, NOW, "2099z", batch=10) == 25
    assert {await schedule_rows.due_at(connection, id_) for id_ in ids} == {NEXT}
    assert await schedule_rows.due_at(connection, overdue) == SLOT, (
        "its slot is the planner's business"
    )
    assert await consistency.metadata_value(connection, "tzdata") == "2099z"
    assert await follow_zone_data(connection, NOW, "2099z") == 0


async def test_maintenance_repairs_only_while_no_other_worker_does(
    connection: asyncpg.Connection, pool: asyncpg.Pool, made: Installed
) -> None:
    id_ = await schedule_rows.schedule(connection, made)
    metrics = Metrics()
    maintenance = Maintenance(pool, metrics)
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", 0x657874_686F757365)
        await maintenance.repair()
        assert await schedule_rows.due_at(connection, id_) is None
    await maintenance.repair()
    assert await schedule_rows.due_at(connection, id_) is not None
    await connection.execute("UPDATE ext_scheduler.timers SET due_at = now()")
    await maintenance.expire()
    await maintenance.measure()
    assert metrics.registry.get_sample_value("extension_scheduler_due_timers") == 1
    assert metrics.registry.get_sample_value("extension_scheduler_queue_depth") == 0


async def test_an_old_snapshot_shows_in_the_metric_as_long_as_it_is_held(
    connection: asyncpg.Connection, pool: asyncpg.Pool
) -> None:
    metrics = Metrics()
    maintenance = Maintenance(pool, metrics)

    async def age() -> float:
        await maintenance.measure()
        value = metrics.registry.get_sample_value("extension_scheduler_oldest_xmin_transactions")
        assert value is not None
        return value

    async with pool.acquire() as writer:
        async with connection.transaction(isolation="repeatable_read"):
            await connection.execute("SELECT 1")
            for _ in range(50):
                await writer.execute("SELECT pg_current_xact_id()")
            assert await age() >= 50
        assert await age() < 50

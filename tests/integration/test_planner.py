"""The planner against a real database: what a due timer becomes, once, whichever worker plans."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import pytest

from service.rules.planning import PlanningRules, SlotCache
from service.storage.runs import occurrences
from service.storage.schedules import timers
from service.worker.planner import PlannerSettings, PlanSummary, plan_due
from tests.support import schedule_rows
from tests.support.platform import TICK, Installed, install

SLOT = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
NEXT = SLOT + timedelta(minutes=5)
NOW = SLOT + timedelta(seconds=1)
SETTINGS = PlannerSettings()


@pytest.fixture
async def made(connection: asyncpg.Connection) -> Installed:
    return await install(connection, materialised=TICK)


async def plan(
    connection: asyncpg.Connection, now: datetime = NOW, settings: PlannerSettings = SETTINGS
) -> PlanSummary:
    return await plan_due(connection, now, settings, SlotCache())


async def jobs(connection: asyncpg.Connection) -> list[asyncpg.Record]:
    return await connection.fetch("SELECT * FROM ext_scheduler.pgqueuer ORDER BY id")


async def one_run(connection: asyncpg.Connection, schedule_id: UUID) -> asyncpg.Record:
    (run,) = await schedule_rows.runs(connection, schedule_id)
    return run


async def test_due_timer_becomes_one_run_and_one_job(
    connection: asyncpg.Connection, made: Installed
) -> None:
    id_ = await schedule_rows.schedule(connection, made, due_at=SLOT)
    assert (await plan(connection)).occurrences == 1
    run = await one_run(connection, id_)
    assert (run["slot"], run["kind"], run["trigger"]) == (SLOT, "scheduled", "schedule")
    assert (run["status"], run["attempts"], run["missed"]) == ("queued", 0, 0)
    assert (run["next_slot"], run["install_id"]) == (NEXT, made.install_id)
    (job,) = await jobs(connection)
    assert job["entrypoint"] == "extension-scheduled-invocation"
    assert job["dedupe_key"] == f"extsched:{made.install_id}:{id_}:2026-03-02T12:00:00Z"
    assert await schedule_rows.due_at(connection, id_) == NEXT


async def test_timer_of_the_future_stays(connection: asyncpg.Connection, made: Installed) -> None:
    id_ = await schedule_rows.schedule(connection, made, due_at=NEXT)
    assert (await plan(connection)).timers == 0
    assert await schedule_rows.runs(connection, id_) == []


async def test_clock_that_steps_back_fires_nothing_again(
    connection: asyncpg.Connection, made: Installed
) -> None:
    id_ = await schedule_rows.schedule(connection, made, due_at=SLOT)
    await plan(connection)
    assert (await plan(connection, NOW - timedelta(hours=1))).timers == 0
    # Even a timer set back by hand finds its slot taken.
    await connection.execute("UPDATE ext_scheduler.timers SET due_at = $1, missed = 3", SLOT)
    assert (await plan(connection)).occurrences == 0
    assert len(await schedule_rows.runs(connection, id_)) == 1
    assert len(await jobs(connection)) == 1
    missed = await connection.fetchval("SELECT missed FROM ext_scheduler.timers")
    assert missed == 3, "no run record took the count, so the timer keeps it"


async def test_only_the_latest_missed_slot_fires(
    connection: asyncpg.Connection, made: Installed
) -> None:
    id_ = await schedule_rows.schedule(connection, made, due_at=SLOT - timedelta(hours=2), missed=2)
    assert (await plan(connection)).missed == 24
    run = await one_run(connection, id_)
    assert (run["slot"], run["trigger"], run["missed"]) == (SLOT, "catchup", 26)
    assert await schedule_rows.due_at(connection, id_) == NEXT
    (job,) = await jobs(connection)
    delay = job["execute_after"] - job["created"]
    assert timedelta(0) <= delay <= timedelta(seconds=30)


async def test_missed_slots_wait_on_the_timer_for_the_next_run(
    connection: asyncpg.Connection, made: Installed
) -> None:
    id_ = await schedule_rows.schedule(connection, made, cron="0 */6 * * *", due_at=SLOT)
    never = PlannerSettings(rules=PlanningRules(catchup_window=timedelta(0)))
    late = SLOT + timedelta(minutes=1)
    assert (await plan(connection, late, never)).missed == 1
    assert await schedule_rows.runs(connection, id_) == []
    following = SLOT + timedelta(hours=6)
    assert await schedule_rows.due_at(connection, id_) == following
    await plan(connection, following, never)
    run = await one_run(connection, id_)
    assert (run["slot"], run["missed"], run["trigger"]) == (following, 1, "schedule")
    assert await connection.fetchval("SELECT missed FROM ext_scheduler.timers") == 0


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE tenant_extension_install SET is_enabled = false",
        "UPDATE tenant_extension_install SET status = 'suspended'",
        "UPDATE tenant_extension_install SET is_enabled = NULL",
        "DELETE FROM tenant_extension_install",
        "INSERT INTO ext_scheduler.tenant_pauses VALUES ('tenant-1', now(), 'test')",
    ],
)
async def test_timer_of_a_disabled_install_or_paused_tenant_advances_without_a_run(
    connection: asyncpg.Connection, made: Installed, change: str
) -> None:
    await connection.execute(
        "ALTER TABLE tenant_extension_install ALTER COLUMN is_enabled DROP NOT NULL"
    )
    id_ = await schedule_rows.schedule(connection, made, due_at=SLOT - timedelta(hours=1))
    await connection.execute(change)
    assert (await plan(connection)).missed == 0
    assert await schedule_rows.runs(connection, id_) == []
    assert await schedule_rows.due_at(connection, id_) == NEXT


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE tenant_extension_schedule SET enabled = false",
        "DELETE FROM tenant_extension_schedule",
        "UPDATE tenant_extension_schedule SET tenant_id = 'tenant-b'",
    ],
)
async def test_timer_is_removed_with_its_row(
    connection: asyncpg.Connection, made: Installed, change: str
) -> None:
    id_ = await schedule_rows.schedule(connection, made, due_at=SLOT)
    await connection.execute(change)
    await plan(connection)
    assert await schedule_rows.runs(connection, id_) == []
    assert await schedule_rows.due_at(connection, id_) is None


async def test_changed_row_is_planned_from_now(
    connection: asyncpg.Connection, made: Installed
) -> None:
    id_ = await schedule_rows.schedule(connection, made, due_at=SLOT)
    await connection.execute("UPDATE tenant_extension_schedule SET cron = '30 9 * * *'")
    await connection.execute("UPDATE tenant_extension_schedule SET timezone = 'Europe/Berlin'")
    await plan(connection)
    assert await schedule_rows.runs(connection, id_) == []
    tomorrow = datetime(2026, 3, 3, 8, 30, tzinfo=UTC)
    timer = await connection.fetchrow("SELECT cron, timezone, due_at FROM ext_scheduler.timers")
    assert timer is not None
    assert tuple(timer) == ("30 9 * * *", "Europe/Berlin", tomorrow)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE tenant_extension_schedule SET cron = 'rubbish' WHERE id = $1",
        "UPDATE tenant_extension_schedule SET cron = NULL WHERE id = $1",
        "UPDATE tenant_extension_schedule SET cron = repeat('9', 5000) || ' 0 * * *' WHERE id = $1",
        "UPDATE tenant_extension_schedule SET timezone = 'Mars/Olympus' WHERE id = $1",
    ],
)
async def test_malformed_row_does_not_delay_other_rows(
    connection: asyncpg.Connection, made: Installed, change: str
) -> None:
    await connection.execute(
        "ALTER TABLE tenant_extension_schedule ALTER COLUMN cron DROP NOT NULL"
    )
    bad = await schedule_rows.schedule(connection, made, due_at=SLOT - timedelta(minutes=5))
    good = await schedule_rows.schedule(connection, made, due_at=SLOT)
    await connection.execute(change, bad)
    planned = await plan(connection)
    assert list(planned.unplannable) == [(made.tenant_id, bad)]
    assert await schedule_rows.due_at(connection, bad) is None
    assert len(await schedule_rows.runs(connection, good)) == 1


async def test_concurrent_planners_plan_each_slot_once(
    connection: asyncpg.Connection, made: Installed, pool: asyncpg.Pool
) -> None:
    ids = [await schedule_rows.schedule(connection, made, due_at=SLOT) for _ in range(60)]
    small = PlannerSettings(batch=7)

    async def planner() -> int:
        slot_cache, total = SlotCache(), 0
        async with pool.acquire() as own:
            while (planned := await plan_due(own, NOW, small, slot_cache)).timers:
                total += planned.occurrences
        return total

    assert sum(await asyncio.gather(*(planner() for _ in range(5)))) == 60
    assert len(await jobs(connection)) == 60
    for id_ in ids:
        assert len(await schedule_rows.runs(connection, id_)) == 1


async def test_timer_changed_by_its_owner_is_left_to_the_owner(
    connection: asyncpg.Connection, made: Installed, database: str
) -> None:
    id_ = await schedule_rows.schedule(connection, made, due_at=SLOT)
    owner = await asyncpg.connect(database)
    try:
        change = owner.transaction()
        await change.start()
        await owner.execute("UPDATE tenant_extension_schedule SET cron = '0 0 * * *'")
        await owner.execute("UPDATE ext_scheduler.timers SET cron = '0 0 * * *', due_at = $1", NEXT)
        assert (await plan(connection)).timers == 0
        await change.commit()
        assert await schedule_rows.due_at(connection, id_) == NEXT
    finally:
        await owner.close()


async def test_owners_change_that_waits_for_the_planner_wins(
    connection: asyncpg.Connection, made: Installed, database: str
) -> None:
    id_ = await schedule_rows.schedule(connection, made, due_at=SLOT)
    owner = await asyncpg.connect(database)
    try:
        async with connection.transaction():
            await plan(connection)
            deleting = asyncio.create_task(owner.execute("DELETE FROM ext_scheduler.timers"))
            await asyncio.sleep(0)
        assert await deleting == "DELETE 1"
        assert await schedule_rows.due_at(connection, id_) is None
    finally:
        await owner.close()


async def test_first_run_of_each_tenant_precedes_the_second_of_any(
    connection: asyncpg.Connection, made: Installed
) -> None:
    other = await install(connection, tenant_id="tenant-b", materialised=TICK)
    for _ in range(3):
        await schedule_rows.schedule(connection, made, due_at=SLOT - timedelta(seconds=5))
    await schedule_rows.schedule(connection, other, due_at=SLOT)
    await plan(connection)
    priorities = sorted((job["priority"] for job in await jobs(connection)), reverse=True)
    assert priorities == [0, 0, -1, -2]


async def test_manual_run_is_one_per_minute(
    connection: asyncpg.Connection, made: Installed
) -> None:
    id_ = await schedule_rows.schedule(connection, made, due_at=NEXT)

    async def run_now(now: datetime) -> tuple[UUID, bool]:
        return await occurrences.plan_manual_run(
            connection, made.tenant_id, made.install_id, id_, now
        )

    first, new = await run_now(NOW)
    assert new
    assert await run_now(NOW + timedelta(seconds=50)) == (first, False)
    later, new = await run_now(NOW + timedelta(seconds=70))
    assert new
    assert later != first
    run = (await schedule_rows.runs(connection, id_))[0]
    assert (run["kind"], run["trigger"], run["slot"]) == ("manual", "run_now", SLOT)
    assert run["next_slot"] == NEXT
    assert (await jobs(connection))[0]["dedupe_key"].endswith(":2026-03-02T12:00:00Z:manual")


async def test_scheduled_and_manual_run_of_a_minute_are_separate_runs(
    connection: asyncpg.Connection, made: Installed
) -> None:
    id_ = await schedule_rows.schedule(connection, made, due_at=SLOT)
    await plan(connection)
    await occurrences.plan_manual_run(connection, made.tenant_id, made.install_id, id_, NOW)
    assert [run["kind"] for run in await schedule_rows.runs(connection, id_)] == [
        "manual",
        "scheduled",
    ]
    assert len(await jobs(connection)) == 2


async def test_next_due_is_the_earliest_timer(
    connection: asyncpg.Connection, made: Installed
) -> None:
    assert await timers.next_due(connection) is None
    await schedule_rows.schedule(connection, made, due_at=NEXT)
    await schedule_rows.schedule(connection, made, due_at=SLOT)
    assert await timers.next_due(connection) == SLOT

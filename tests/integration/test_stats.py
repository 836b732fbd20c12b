"""The figures of the hour: what is due, how runs ended, how late they were, who works."""

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from service.storage.engine import clock
from service.worker.presence import PresenceReporter
from tests.support import schedule_rows
from tests.support.admin import Admin, operator
from tests.support.eventually import eventually
from tests.support.host import dispatcher
from tests.support.platform import TICK, install

NOW = datetime(2026, 7, 1, 12, 0, 30, tzinfo=UTC)
RUN = """
INSERT INTO ext_scheduler.runs (tenant_id, id, install_id, schedule_id, slot, kind, trigger, status,
  attempts, missed, queued_at, started_at)
VALUES ($1, gen_random_uuid(), $2, gen_random_uuid(), $3, 'scheduled', 'schedule', $4, 1, $5, $3,
  $3::timestamptz + $6::integer * interval '1 millisecond')
"""


@pytest.fixture
def everyone(pool: asyncpg.Pool) -> Admin:
    return operator(dispatcher(pool, clock=lambda _: NOW))


async def test_due_slots_are_counted_by_minute_as_often_as_they_come(
    pool: asyncpg.Pool, everyone: Admin
) -> None:
    async with pool.acquire() as connection:
        made = await install(connection, tenant_id="acme", materialised=TICK)
        other = await install(connection, tenant_id="zeta", materialised=TICK)
        first = datetime(2026, 7, 1, 12, 15, tzinfo=UTC)
        for _ in range(2):
            await schedule_rows.schedule(connection, made, cron="*/15 * * * *", due_at=first)
        await schedule_rows.schedule(connection, other, cron="30 12 * * *", due_at=first)
        await schedule_rows.schedule(
            connection, made, cron="0 3 * * *", due_at=first + timedelta(hours=15), missed=2
        )
    stats = await everyone("stats")
    assert [(row["minute"][11:16], row["count"]) for row in stats["due"]] == [
        ("12:15", 2),
        ("12:30", 3),
        ("12:45", 2),
        ("13:00", 2),
    ]
    assert (stats["enabledSchedules"], stats["missed"]) == (4, 2)
    await everyone("setTenantPaused", tenantId="acme", paused=True)
    stats = await everyone("stats")
    assert [(row["minute"][11:16], row["count"]) for row in stats["due"]] == [("12:30", 1)]
    assert (stats["pausedTenants"], stats["disabledInstalls"]) == (1, 0)
    await everyone("setInstallEnabled", installId=str(other.install_id), enabled=False)
    stats = await everyone("stats", tenantId="zeta")
    assert (stats["due"], stats["pausedTenants"], stats["disabledInstalls"]) == ([], 0, 1)


async def test_runs_of_the_hour_are_counted_by_minute_status_and_lateness(
    pool: asyncpg.Pool, everyone: Admin
) -> None:
    async with pool.acquire() as connection:
        made = await install(connection, tenant_id="acme", materialised=TICK)
        slot = datetime(2026, 7, 1, 11, 45, tzinfo=UTC)
        for status, late_ms in (("success", 20), ("success", 40), ("error", 500)):
            await connection.execute(RUN, "acme", made.install_id, slot, status, 0, late_ms)
        await connection.execute(RUN, "zeta", made.install_id, slot, "skipped", 3, 100)
        old = slot - timedelta(hours=2)
        await connection.execute(RUN, "acme", made.install_id, old, "error", 7, 90_000)
    stats = await everyone("stats", tenantId="acme")
    assert stats["runs"] == [
        {
            "minute": "2026-07-01T11:45:00.000Z",
            "queued": 0,
            "running": 0,
            "success": 2,
            "error": 1,
            "skipped": 0,
            "skippedOverlap": 0,
        }
    ]
    assert stats["lateness"] == {"runs": 3, "p50Ms": 40, "p99Ms": 500, "maxMs": 500, "spreadMs": 0}
    assert stats["missed"] == 0
    everywhere = await everyone("stats")
    assert (everywhere["runs"][0]["skipped"], everywhere["missed"]) == (1, 3)
    assert (await everyone("stats"))["lateness"]["runs"] == 4


async def test_worker_is_up_while_it_reports(pool: asyncpg.Pool) -> None:
    everyone = operator(dispatcher(pool))
    await pool.execute(
        "INSERT INTO ext_scheduler.workers VALUES"
        " ('gone', now() - interval '1 hour', now() - interval '5 minutes', 3, 10)"
    )
    stopping = asyncio.Event()
    reporter = PresenceReporter(pool, "here", 7, lambda: 2, clock.read)
    reporting = asyncio.create_task(reporter.run(stopping))

    async def up() -> bool:
        return bool((await everyone("stats"))["workersUp"] == 1)

    await eventually(up)
    stats = await everyone("stats")
    shown = {row["name"]: (row["up"], row["inFlight"], row["capacity"]) for row in stats["workers"]}
    assert shown == {"here": (True, 2, 7), "gone": (False, 3, 10)}
    stopping.set()
    await reporting
    await pool.execute("UPDATE ext_scheduler.workers SET seen_at = seen_at - interval '1 minute'")
    assert (await everyone("stats"))["workersUp"] == 0

"""What the end of an attempt writes, and before which slot a retry must start."""

import asyncio
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec
import pytest
from msgspec import structs

from service.rules.outcomes import FailureRules
from service.storage.runs import results, retry_bounds
from service.storage.runs.attempts import RunRecord
from service.storage.runs.updates import RunUpdate, lock_active_runs, write_updates
from service.storage.schedules import timers
from service.storage.schedules.timers import Timer
from tests.support import schedule_rows
from tests.support.eventually import eventually
from tests.support.locks import another_session, unlocked
from tests.support.platform import TICK, install, waits_for_a_lock
from tests.support.run_records import (
    INSTALL,
    LEASE,
    SLOT,
    begun,
    claimed,
    holders,
    occurrence,
    planned,
    read,
)

LATER = SLOT + timedelta(seconds=10)
RETRY = LATER + timedelta(seconds=5)
OWNED = LATER + timedelta(minutes=2)
MINUTE = timedelta(minutes=1)
ACTIVE = "ext_scheduler.active_runs"


def ended(run: RunRecord, **changes: Any) -> RunUpdate:
    success = RunUpdate(run=run, status="success", now=LATER, duration_ms=120, http_status=200)
    return structs.replace(success, **changes)


def retried(run: RunRecord) -> RunUpdate:
    return RunUpdate(
        run=run,
        status="queued",
        now=LATER,
        retry_at=RETRY,
        owned_until=OWNED,
        duration_ms=80,
        http_status=503,
        error="HTTP 503",
    )


def handed_back(run: RunRecord) -> RunUpdate:
    return RunUpdate(run=run, status="queued", now=LATER, handed_back=True)


async def row(connection: asyncpg.Connection, run: RunRecord) -> dict[str, Any]:
    found = await connection.fetchrow(
        "SELECT status, attempts, fence, lease_until, retry_at, started_at, finished_at,"
        " duration_ms, http_status, error FROM ext_scheduler.runs WHERE id = $1",
        run.id,
    )
    assert found is not None
    return dict(found)


async def held_until(connection: asyncpg.Connection) -> dict[UUID, datetime]:
    rows = await connection.fetch(f"SELECT schedule_id, held_until FROM {ACTIVE}")
    return {each["schedule_id"]: each["held_until"] for each in rows}


async def attempts_kept(connection: asyncpg.Connection) -> list[tuple[UUID, int]]:
    rows = await connection.fetch(
        "SELECT run_id, attempt FROM ext_scheduler.run_attempts ORDER BY run_id, attempt"
    )
    return [(each["run_id"], each["attempt"]) for each in rows]


async def test_an_end_is_written_to_its_run_alone(connection: asyncpg.Connection) -> None:
    run, same_slot, earlier = await begun(
        connection, occurrence(), occurrence(), occurrence(slot=SLOT - LEASE)
    )
    update = ended(run)
    assert await write_updates(connection, [update]) == [update]
    assert await row(connection, run) == {
        "status": "success",
        "attempts": 1,
        "fence": 1,
        "lease_until": None,
        "retry_at": None,
        "started_at": SLOT,
        "finished_at": LATER,
        "duration_ms": 120,
        "http_status": 200,
        "error": None,
    }
    for other in (same_slot, earlier):
        assert await read(connection, other) == other
    assert await holders(connection) == {
        same_slot.schedule_id: same_slot.id,
        earlier.schedule_id: earlier.id,
    }
    assert await attempts_kept(connection) == []


async def test_a_run_that_is_retried_keeps_its_schedule_for_longer(
    connection: asyncpg.Connection,
) -> None:
    schedule = uuid4()
    run, beside, other = await begun(
        connection, occurrence(schedule), occurrence(schedule, LATER), occurrence()
    )
    before = await held_until(connection)
    assert await write_updates(connection, [retried(beside)]) == [retried(beside)]
    assert await held_until(connection) == before
    assert await write_updates(connection, [retried(run)]) == [retried(run)]
    assert await held_until(connection) == {schedule: OWNED, other.schedule_id: SLOT + LEASE}
    found = await row(connection, run)
    assert (found["status"], found["retry_at"], found["finished_at"]) == ("queued", RETRY, None)
    assert (found["attempts"], found["http_status"], found["lease_until"]) == (1, 503, None)
    assert sorted(await attempts_kept(connection)) == sorted([(run.id, 1), (beside.id, 1)])


async def test_nothing_is_written_by_an_attempt_that_another_has_followed(
    connection: asyncpg.Connection,
) -> None:
    (stale,) = await begun(connection)
    (current,), _ = await claimed(connection, stale, now=LATER)
    (other,) = await begun(connection)
    assert await write_updates(connection, [ended(stale), ended(other)]) == [ended(other)]
    assert await write_updates(connection, [retried(stale)]) == []
    assert await read(connection, stale) == current
    assert await holders(connection) == {stale.schedule_id: stale.id}
    assert (await held_until(connection))[stale.schedule_id] == LATER + LEASE
    assert await write_updates(connection, [ended(current)]) == [ended(current)]
    assert await write_updates(connection, [ended(current)]) == []
    assert await holders(connection) == {}


async def test_ends_and_retries_are_written_together(connection: asyncpg.Connection) -> None:
    runs = await begun(connection, *(occurrence() for _ in range(4)))
    updates = [ended(runs[0]), retried(runs[1]), handed_back(runs[2]), retried(runs[3])]
    written = await write_updates(connection, updates)
    assert {each.run.key for each in written} == {run.key for run in runs}
    assert [(await row(connection, run))["status"] for run in runs] == [
        "success",
        "queued",
        "queued",
        "queued",
    ]
    assert set(await holders(connection)) == {runs[1].schedule_id, runs[3].schedule_id}
    assert set(await attempts_kept(connection)) == {(runs[1].id, 1), (runs[3].id, 1)}


async def test_an_attempt_without_a_call_does_not_count(connection: asyncpg.Connection) -> None:
    (first,) = await begun(connection)
    await write_updates(connection, [handed_back(first)])
    found = await row(connection, first)
    assert (found["status"], found["attempts"], found["started_at"]) == ("queued", 0, None)
    (second,), _ = await claimed(connection, await read(connection, first))
    await write_updates(connection, [retried(second)])
    (third,), _ = await claimed(connection, await read(connection, first), now=RETRY)
    await write_updates(
        connection, [structs.replace(handed_back(third), retry_at=RETRY, owned_until=OWNED)]
    )
    found = await row(connection, first)
    assert (found["attempts"], found["started_at"], found["duration_ms"]) == (1, RETRY, 80)
    assert await attempts_kept(connection) == [(first.id, 1)]
    assert await connection.fetchval("SELECT finished_at FROM ext_scheduler.run_attempts") == LATER


async def test_an_update_says_when_the_run_ended_or_how_long_it_waits(
    connection: asyncpg.Connection,
) -> None:
    (run,) = await begun(connection)
    end, retry = ended(run), retried(run)
    assert (end.schedule, end.finished_at, end.retry_delay) == (
        (run.tenant_id, run.schedule_id),
        LATER,
        None,
    )
    assert (retry.finished_at, retry.retry_delay) == (None, RETRY - LATER)
    assert handed_back(run).retry_delay == timedelta(0)


async def test_what_is_ended_and_extended_together_is_locked_before_and_nothing_else(
    connection: asyncpg.Connection, database: str
) -> None:
    one, two, other = await begun(connection, occurrence(), occurrence(), occurrence())
    everything = {one.schedule_id, two.schedule_id, other.schedule_id}
    async with another_session(database) as watching, connection.transaction():
        await lock_active_runs(connection, [ended(one), ended(two)])
        await lock_active_runs(connection, [retried(one), retried(two)])
        assert await unlocked(watching, ACTIVE, "schedule_id") == everything
        await lock_active_runs(connection, [ended(one), retried(two)])
        assert await unlocked(watching, ACTIVE, "schedule_id") == {other.schedule_id}


async def test_active_runs_are_locked_in_the_order_of_claims(
    connection: asyncpg.Connection, database: str
) -> None:
    runs = await begun(connection, occurrence(), occurrence())
    first, second = sorted(runs, key=lambda run: run.schedule_id)
    sessions = another_session(database), another_session(database)
    async with sessions[0] as other, sessions[1] as watching, connection.transaction():
        async with other.transaction():
            await other.execute(
                f"SELECT FROM {ACTIVE} WHERE schedule_id = $1 FOR UPDATE", first.schedule_id
            )
            updates = [ended(second), retried(first)]
            locking = asyncio.create_task(lock_active_runs(connection, updates))
            await eventually(partial(waits_for_a_lock, watching))
            assert await unlocked(watching, ACTIVE, "schedule_id") == {second.schedule_id}
        await locking
        assert await unlocked(watching, ACTIVE, "schedule_id") == set()


async def scheduled(connection: asyncpg.Connection, count: int = 1) -> list[RunRecord]:
    """Return claimed runs of schedules that have rows."""
    made = await install(connection, materialised=TICK)
    ids = [await schedule_rows.schedule(connection, made) for _ in range(count)]
    return await begun(connection, *(occurrence(id_, tenant_id=made.tenant_id) for id_ in ids))


async def test_results_wait_for_schedules_that_another_session_has_locked(
    connection: asyncpg.Connection, database: str
) -> None:
    busy, free, quiet, unrelated = await scheduled(connection, 4)
    (gone,) = await begun(connection)
    table = "tenant_extension_schedule"
    updates = [
        *(ended(run, recorded=True) for run in (busy, free, gone)),
        ended(quiet, recorded=False),
    ]
    async with another_session(database) as other, another_session(database) as watching:
        async with other.transaction(), connection.transaction():
            await other.execute(
                f"SELECT FROM {table} WHERE id = ANY ($1) FOR UPDATE",
                [busy.schedule_id, unrelated.schedule_id],
            )
            assert await results.lock_schedules(connection, updates) == {
                (busy.tenant_id, busy.schedule_id)
            }
            assert await unlocked(watching, table, "id") == {quiet.schedule_id}
            assert await results.lock_schedules(connection, [ended(quiet)]) == set()
        async with connection.transaction():
            assert await results.lock_schedules(connection, updates) == set()


async def test_the_events_say_how_the_runs_ended(connection: asyncpg.Connection) -> None:
    good, bad, quiet = await scheduled(connection, 3)
    updates = [
        ended(good, recorded=True),
        ended(bad, recorded=True, status="error", http_status=500, error="HTTP 500"),
        ended(quiet),
    ]
    await results.record(connection, updates, LATER, FailureRules())
    rows = await connection.fetch("SELECT * FROM ext_scheduler.outbox ORDER BY sequence")
    assert [(each["type"], each["run_id"], each["schedule_id"]) for each in rows] == [
        ("run.succeeded", good.id, good.schedule_id),
        ("run.failed", bad.id, bad.schedule_id),
    ]
    data = {
        "slot": "2026-03-02T12:00:00Z",
        "trigger": "schedule",
        "attempts": 1,
        "durationMs": 120,
    }
    assert [msgspec.json.decode(each["data"]) for each in rows] == [
        {**data, "httpStatus": 200},
        {**data, "httpStatus": 500, "error": "HTTP 500"},
    ]
    statuses = await connection.fetch("SELECT id, last_run_status FROM tenant_extension_schedule")
    assert {each["id"]: each["last_run_status"] for each in statuses} == {
        good.schedule_id: "success",
        bad.schedule_id: "error",
        quiet.schedule_id: None,
    }
    await results.record(connection, [ended(quiet)], LATER, FailureRules())
    assert await connection.fetchval("SELECT count(*) FROM ext_scheduler.outbox") == 2


async def bounds(connection: asyncpg.Connection, *runs: RunRecord) -> list[datetime | None]:
    """Return the slot before which a retry of each run must start."""
    current = await retry_bounds.current(connection, runs)
    assert [structs.replace(current[run.key], next_slot=run.next_slot) for run in runs] == [*runs]
    return [current[run.key].next_slot for run in runs]


async def timer(
    connection: asyncpg.Connection, run: RunRecord, due_at: datetime, missed: int = 0
) -> None:
    """Let the schedule of a run, every five minutes, be due at some time."""
    key = run.tenant_id, run.schedule_id
    await timers.add(connection, [Timer(*key, INSTALL, "*/5 * * * *", "UTC", due_at, missed)])


async def test_without_a_timer_the_noted_slot_bounds_the_retries(
    connection: asyncpg.Connection,
) -> None:
    assert await retry_bounds.current(connection, []) == {}
    (run,) = await begun(connection)
    assert await bounds(connection, run) == [SLOT + 5 * MINUTE]


@pytest.mark.parametrize(
    ("due", "missed", "bound"),
    [
        (SLOT + 3 * MINUTE, 0, SLOT + 3 * MINUTE),  # the expression has changed
        (SLOT + 5 * MINUTE, 0, SLOT + 5 * MINUTE),
        (SLOT + 10 * MINUTE, 0, SLOT + 5 * MINUTE),  # the noted slot passed without a run
        (SLOT + 10 * MINUTE, 2, SLOT + 5 * MINUTE),
        (SLOT + 3 * MINUTE, 1, SLOT + 5 * MINUTE),  # slots were missed: the timer says nothing
    ],
)
async def test_the_timer_bounds_the_retries(
    connection: asyncpg.Connection, due: datetime, missed: int, bound: datetime
) -> None:
    run, other = await begun(connection, occurrence(), occurrence())
    await timer(connection, run, due, missed)
    await timer(connection, other, SLOT + 60 * MINUTE)
    assert await bounds(connection, run) == [bound]


async def test_a_noted_slot_that_is_none_any_more_gives_way_to_the_timer(
    connection: asyncpg.Connection,
) -> None:
    run, unnoted = await begun(connection, occurrence(), occurrence())
    odd = structs.replace(run, next_slot=SLOT + 7 * MINUTE)
    none = structs.replace(unnoted, next_slot=None)
    for each in (odd, none):
        await timer(connection, each, SLOT + 10 * MINUTE)
    assert await bounds(connection, odd, none) == [SLOT + 10 * MINUTE] * 2


async def test_the_next_planned_slot_bounds_the_retries(connection: asyncpg.Connection) -> None:
    schedule, busy = uuid4(), uuid4()
    (run,) = await begun(connection, occurrence(schedule))
    await timer(connection, run, SLOT + 60 * MINUTE)
    await planned(
        connection,
        occurrence(schedule, SLOT - 5 * MINUTE),
        occurrence(schedule, SLOT + MINUTE, kind="manual"),
        occurrence(busy, SLOT + MINUTE),
    )
    assert await bounds(connection, run) == [SLOT + 5 * MINUTE]
    await planned(
        connection,
        occurrence(schedule, SLOT + 4 * MINUTE),
        occurrence(schedule, SLOT + 3 * MINUTE),
    )
    assert await bounds(connection, run) == [SLOT + 3 * MINUTE]


async def test_only_what_was_asked_for_is_read(connection: asyncpg.Connection) -> None:
    run, other = await begun(connection, occurrence(), occurrence())
    for each in (run, other):
        await timer(connection, each, SLOT + 5 * MINUTE)
    rows = await connection.fetch(retry_bounds.TIMERS, [run.tenant_id], [run.schedule_id])
    assert [each["schedule_id"] for each in rows] == [run.schedule_id]

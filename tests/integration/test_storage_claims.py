"""Who may claim a run, what a claim writes, and who holds the schedule afterwards."""

import asyncio
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from msgspec import structs

from service.storage.runs import attempts
from service.storage.runs.attempts import (
    WORKER_LOST,
    ClaimRequest,
    KeptAttempt,
    RunRecord,
    release_schedules,
)
from service.storage.runs.direct_claims import ACTIVE_RUNS, hold_schedules
from service.storage.runs.updates import RunUpdate, write_updates
from tests.support.eventually import eventually
from tests.support.locks import another_session
from tests.support.platform import waits_for_a_lock
from tests.support.run_records import (
    LEASE,
    SLOT,
    begun,
    claimed,
    holders,
    occurrence,
    payload,
    planned,
    read,
)

LATER = SLOT + timedelta(seconds=10)
INSTANT = timedelta(microseconds=1)


async def handed_back(connection: asyncpg.Connection, run: RunRecord) -> RunRecord:
    back = RunUpdate(run=run, status="queued", now=LATER, handed_back=True)
    assert await write_updates(connection, [back]) == [back]
    return await read(connection, run)


async def waiting(connection: asyncpg.Connection, run: RunRecord) -> RunRecord:
    """Let an attempt fail, to be retried; return the record."""
    failed = RunUpdate(
        run=run,
        status="queued",
        now=LATER,
        retry_at=LATER + LEASE,
        owned_until=LATER + 2 * LEASE,
        duration_ms=120,
        http_status=500,
        error="HTTP 500",
    )
    assert await write_updates(connection, [failed]) == [failed]
    return await read(connection, run)


async def kept(connection: asyncpg.Connection) -> list[dict[str, Any]]:
    rows = await connection.fetch(
        "SELECT run_id, attempt, worker, finished_at, duration_ms, http_status, error"
        " FROM ext_scheduler.run_attempts ORDER BY run_id, attempt"
    )
    return [dict(row) for row in rows]


async def test_the_runs_of_the_jobs_are_loaded_and_no_others(
    connection: asyncpg.Connection,
) -> None:
    schedule = uuid4()
    (run, _same_slot, _earlier) = await planned(
        connection, occurrence(schedule), occurrence(), occurrence(schedule, SLOT - LEASE)
    )
    assert await attempts.load(connection, [payload(run)]) == {run.key: run}
    missing = structs.replace(payload(run), slot=LATER)
    assert await attempts.load(connection, [missing]) == {}
    assert (run.status, run.attempts, run.fence, run.worker) == ("queued", 0, 0, None)


async def test_a_claim_begins_an_attempt_and_leaves_other_runs_alone(
    connection: asyncpg.Connection,
) -> None:
    run, same_slot, earlier = await planned(
        connection, occurrence(), occurrence(), occurrence(slot=SLOT - LEASE)
    )
    assert await claimed(connection) == ([], set())
    (mine,), owners = await claimed(connection, run, now=LATER)
    assert mine == structs.replace(
        run,
        status="running",
        attempts=1,
        fence=1,
        lease_until=LATER + LEASE,
        started_at=LATER,
        worker="worker-1",
    )
    assert owners == {run.key}
    assert await read(connection, run) == mine
    assert await read(connection, same_slot) == same_slot
    assert await read(connection, earlier) == earlier
    assert await holders(connection) == {run.schedule_id: run.id}
    assert await kept(connection) == []


async def test_several_runs_are_claimed_together(connection: asyncpg.Connection) -> None:
    runs = await planned(connection, *(occurrence() for _ in range(4)))
    lost, *begin = runs
    got, owners = await claimed(connection, ClaimRequest(lost, lost="gone"), *begin)
    assert {run.key for run in got} == {run.key for run in runs}
    assert owners == {run.key for run in begin}
    for run in got:
        assert await read(connection, run) == run
        assert run.attempts == (0 if run.key == lost.key else 1)
        assert (run.started_at is None) == (run.key == lost.key)


async def test_a_run_holds_its_schedule_to_the_last_instant_of_its_time(
    connection: asyncpg.Connection,
) -> None:
    schedule = uuid4()
    first, second, third, fourth = await planned(
        connection, *(occurrence(schedule, SLOT + number * LEASE) for number in range(4))
    )
    assert (await claimed(connection, first))[1] == {first.key}
    for other, now in ((second, LATER), (third, SLOT + LEASE)):
        (run,), owners = await claimed(connection, other, now=now)
        assert (run.status, owners) == ("running", set())
        assert await holders(connection) == {schedule: first.id}
    _, owners = await claimed(connection, fourth, now=SLOT + LEASE + INSTANT)
    assert owners == {fourth.key}
    assert await holders(connection) == {schedule: fourth.id}


async def test_a_further_attempt_of_the_holder_keeps_the_schedule(
    connection: asyncpg.Connection,
) -> None:
    (run,) = await begun(connection)
    again = await waiting(connection, run)
    (mine,), owners = await claimed(connection, again, now=LATER)
    assert (mine.attempts, mine.fence, mine.started_at) == (2, 2, LATER)
    assert owners == {run.key}


async def test_a_claim_of_what_another_has_claimed_since_takes_nothing(
    connection: asyncpg.Connection,
) -> None:
    (run,) = await planned(connection)
    (first,), _ = await claimed(connection, run)
    assert await claimed(connection, run, now=LATER) == ([], set())
    assert await read(connection, run) == first
    assert await holders(connection) == {run.schedule_id: run.id}


async def test_a_run_beside_the_holder_does_not_take_the_schedule_when_claimed_again(
    connection: asyncpg.Connection,
) -> None:
    schedule = uuid4()
    holder, beside = await begun(connection, occurrence(schedule), occurrence(schedule, LATER))
    (claim,), owners = await claimed(connection, await handed_back(connection, beside))
    assert (claim.fence, owners) == (2, set())
    assert await holders(connection) == {schedule: holder.id}


async def test_a_run_handed_back_since_it_was_read_is_not_claimed_and_holds_nothing(
    connection: asyncpg.Connection,
) -> None:
    (running,) = await begun(connection)
    back = await handed_back(connection, running)
    assert await holders(connection) == {}
    assert await claimed(connection, running) == ([], set())
    assert await holders(connection) == {}
    assert await read(connection, running) == back


async def test_what_was_acquired_for_runs_that_changed_is_released_and_no_more(
    connection: asyncpg.Connection,
) -> None:
    (changed,) = await begun(connection)
    await handed_back(connection, changed)
    (other,) = await planned(connection)
    (mine,), owners = await claimed(connection, changed, other)
    assert (mine.key, owners) == (other.key, {other.key})
    assert await holders(connection) == {other.schedule_id: other.id}


@pytest.mark.parametrize("status", ["success", "error"])
async def test_a_run_that_has_ended_is_never_claimed(
    connection: asyncpg.Connection, status: str
) -> None:
    (running,) = await begun(connection)
    await write_updates(connection, [RunUpdate(run=running, status=status, now=LATER)])
    ended = await read(connection, running)
    assert await claimed(connection, running) == ([], set())
    assert await claimed(connection, ended) == ([], set())
    assert await read(connection, running) == ended
    assert await holders(connection) == {}


async def test_a_claim_made_again_is_the_same_attempt(connection: asyncpg.Connection) -> None:
    (first,) = await begun(connection)
    (again,), owners = await claimed(connection, ClaimRequest(first, again=True), now=LATER)
    assert (again.attempts, again.fence, again.started_at) == (1, 2, first.started_at)
    assert owners == {first.key}
    assert await read(connection, first) == again
    assert await kept(connection) == []


async def test_a_lost_attempt_that_only_ends_holds_nothing(connection: asyncpg.Connection) -> None:
    (queued,) = await planned(connection)
    (mine,), owners = await claimed(connection, ClaimRequest(queued, lost="too late"))
    assert (mine.attempts, mine.started_at, owners) == (0, None, set())
    assert await read(connection, queued) == mine
    assert await holders(connection) == {}
    # Its worker is lost in turn: no attempt has begun, so none is kept.
    (mine,), _ = await claimed(connection, ClaimRequest(mine, lost="too late"))
    assert (mine.fence, await kept(connection)) == (2, [])


async def test_earlier_attempts_are_kept_as_they_ended(connection: asyncpg.Connection) -> None:
    run, _other = await begun(connection, occurrence(), occurrence())
    (second,), _ = await claimed(connection, await waiting(connection, run))
    ended = {
        "run_id": run.id,
        "attempt": 1,
        "worker": "worker-1",
        "finished_at": LATER,
        "duration_ms": 120,
        "http_status": 500,
        "error": "HTTP 500",
    }
    assert await kept(connection) == [ended]
    (third,), _ = await claimed(connection, second, now=LATER)
    gone = {"finished_at": None, "duration_ms": None, "http_status": None, "error": WORKER_LOST}
    assert await kept(connection) == [ended, {**ended, **gone, "attempt": 2}]
    assert third.attempts == 3
    await attempts.keep(connection, [])
    await attempts.keep(connection, [KeptAttempt(run=second, error="of a lost worker")])
    assert len(await kept(connection)) == 2


async def test_a_schedule_is_released_by_its_holder_alone(connection: asyncpg.Connection) -> None:
    schedule = uuid4()
    run, beside, other = await begun(
        connection, occurrence(schedule), occurrence(schedule, LATER), occurrence()
    )
    everything = {schedule: run.id, other.schedule_id: other.id}
    await release_schedules(connection, [])
    await release_schedules(connection, [beside, structs.replace(run, fence=0)])
    assert await holders(connection) == everything
    await release_schedules(connection, [run])
    assert await holders(connection) == {other.schedule_id: other.id}
    await release_schedules(connection, [structs.replace(other, fence=2)])
    assert await holders(connection) == {}


def about_to_be_claimed(*given: RunRecord) -> list[RunRecord]:
    lease = {"status": "running", "attempts": 1, "fence": 1, "lease_until": SLOT + LEASE}
    return [structs.replace(run, **lease) for run in given]


async def test_free_schedules_are_held_before_their_runs_are_written(
    connection: asyncpg.Connection,
) -> None:
    assert await hold_schedules(connection, [], SLOT) == []
    schedule = uuid4()
    (active,) = await begun(connection, occurrence(schedule))
    (next_one, one, two) = about_to_be_claimed(
        *await planned(
            connection, occurrence(schedule, LATER), occurrence(slot=LATER), occurrence(slot=LATER)
        )
    )
    assert await hold_schedules(connection, [next_one], LATER) == []
    held = await hold_schedules(connection, [next_one, one, two], LATER)
    assert sorted(run.id for run in held) == sorted([one.id, two.id])
    assert await holders(connection) == {
        schedule: active.id,
        one.schedule_id: one.id,
        two.schedule_id: two.id,
    }
    rows = await connection.fetch(
        "SELECT DISTINCT slot, fence, held_since, held_until FROM ext_scheduler.active_runs"
        " WHERE schedule_id <> $1",
        schedule,
    )
    assert [tuple(row) for row in rows] == [(LATER, 1, LATER, SLOT + LEASE)]


async def test_a_single_schedule_is_held_whatever_others_of_the_tenant_are_active(
    connection: asyncpg.Connection,
) -> None:
    (active,) = await begun(connection)
    (one,) = about_to_be_claimed(*await planned(connection))
    assert await connection.fetch(ACTIVE_RUNS, [one.tenant_id], [one.schedule_id]) == []
    assert await hold_schedules(connection, [one], SLOT) == [one]
    assert await holders(connection) == {
        active.schedule_id: active.id,
        one.schedule_id: one.id,
    }


async def test_a_schedule_that_a_claim_takes_in_between_is_left_to_it(
    connection: asyncpg.Connection, database: str
) -> None:
    schedule = uuid4()
    earlier, taken, free = await planned(
        connection, occurrence(schedule), occurrence(schedule, LATER), occurrence()
    )
    async with another_session(database) as other, another_session(database) as watching:
        async with other.transaction():
            await claimed(other, earlier)
            wanted = about_to_be_claimed(taken, free)
            holding = asyncio.create_task(hold_schedules(connection, wanted, LATER))
            await eventually(partial(waits_for_a_lock, watching))
        assert [run.id for run in await holding] == [free.id]
    assert await holders(connection) == {schedule: earlier.id, free.schedule_id: free.id}

"""Which job a worker gets, which stays another's, and who may write to it."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TypeAlias
from uuid import UUID, uuid4

import asyncpg
import pytest

from service.storage.runs import queue
from service.storage.runs.queue import Job, JobPayload, NewJob, OwnedJob, UnreadablePayloadError
from tests.support.locks import another_session

Claim: TypeAlias = Callable[[asyncpg.Connection, int], Awaitable[list[int]]]

OWNER, OTHER = uuid4(), uuid4()
TIMEOUT = timedelta(seconds=30)
HOUR = timedelta(hours=1)
PAYLOAD = JobPayload("tenant-1", uuid4(), uuid4(), datetime(2026, 3, 2, 12, 0, tzinfo=UTC))
STATES = """
SELECT dedupe_key, status::text, queue_manager_id, attempts, heartbeat,
  execute_after - now() AS wait
FROM ext_scheduler.pgqueuer
"""


async def enqueued(
    connection: asyncpg.Connection,
    *names: str,
    priority: int = 0,
    delay: timedelta = timedelta(0),
    owner: UUID | None = None,
) -> list[int]:
    """Enqueue one job for each name, in this order; return their ids."""
    jobs = [NewJob(PAYLOAD, name, priority, delay, owner) for name in names]
    ids = await queue.enqueue(connection, jobs)
    return [ids[name] for name in names]


async def states(connection: asyncpg.Connection) -> dict[str, asyncpg.Record]:
    """Return the jobs by name."""
    return {row["dedupe_key"]: row for row in await connection.fetch(STATES)}


async def lost(connection: asyncpg.Connection, *names: str) -> None:
    """Let the last heartbeat of claimed jobs be older than the timeout."""
    await connection.execute(
        "UPDATE ext_scheduler.pgqueuer SET heartbeat = now() - 2 * $2::interval"
        " WHERE dedupe_key = ANY ($1)",
        names,
        TIMEOUT,
    )


async def of_another_program(connection: asyncpg.Connection, status: str = "queued") -> int:
    """Enqueue a job of another entrypoint: the most urgent, due for a minute, or lost as long."""
    id_: int = await connection.fetchval(
        "INSERT INTO ext_scheduler.pgqueuer"
        " (entrypoint, priority, status, execute_after, heartbeat, dedupe_key)"
        " SELECT 'another', 9, $1::text::ext_scheduler.pgqueuer_status, at, at, $1::text"
        " FROM (SELECT now() - interval '1 min' AS at) a RETURNING id",
        status,
    )
    return id_


async def claimed(connection: asyncpg.Connection, limit: int = 10) -> list[int]:
    return [job.id for job in (await queue.claim(connection, OWNER, limit, TIMEOUT)).jobs]


async def claimed_singly(connection: asyncpg.Connection, limit: int = 10) -> list[int]:
    jobs, refused = await queue.claim_singly(connection, OWNER, limit, TIMEOUT)
    assert refused == {}
    return [job.id for job in jobs]


CLAIMS = pytest.mark.parametrize("claim", [claimed, claimed_singly])


async def test_a_job_is_enqueued_once_for_as_long_as_it_is_there(
    connection: asyncpg.Connection,
) -> None:
    assert await queue.enqueue(connection, []) == {}
    (first,) = await enqueued(connection, "a")
    assert await queue.enqueue(connection, [NewJob(PAYLOAD, "a")]) == {}
    assert await queue.depth(connection) == 1
    assert await claimed(connection) == [first]
    assert await queue.enqueue(connection, [NewJob(PAYLOAD, "a")]) == {}
    await queue.end(connection, [first], OWNER)
    (second,) = await enqueued(connection, "a")
    assert second > first


async def test_a_job_enqueued_with_an_owner_is_its_owners(connection: asyncpg.Connection) -> None:
    (own,) = await enqueued(connection, "own", owner=OTHER)
    (free,) = await enqueued(connection, "free")
    found = await states(connection)
    assert (found["own"]["status"], found["own"]["queue_manager_id"]) == ("picked", OTHER)
    assert (found["free"]["status"], found["free"]["queue_manager_id"]) == ("queued", None)
    assert await queue.depth(connection) == 1
    assert await claimed(connection) == [free]
    assert [job.id for job in await queue.held(connection, OTHER, [])] == [own]


@CLAIMS
async def test_the_most_urgent_jobs_are_claimed_first(
    connection: asyncpg.Connection, claim: Claim
) -> None:
    (last,) = await enqueued(connection, "last", priority=-3)
    (first, second) = await enqueued(connection, "first", "second", priority=0)
    (third,) = await enqueued(connection, "third", priority=-1)
    assert await claim(connection, 3) == [first, second, third]
    assert await claim(connection, 3) == [last]
    assert await claim(connection, 3) == []


@CLAIMS
async def test_only_due_jobs_of_this_service_are_claimed_and_no_others(
    connection: asyncpg.Connection, claim: Claim
) -> None:
    await of_another_program(connection)
    await of_another_program(connection, "picked")
    await enqueued(connection, "later", delay=HOUR)
    await enqueued(connection, "worked on", owner=OTHER)
    assert await claim(connection, 10) == []
    (due,) = await enqueued(connection, "due")
    assert await claim(connection, 10) == [due]
    found = await states(connection)
    assert found["due"]["queue_manager_id"] == OWNER
    assert found["worked on"]["queue_manager_id"] == OTHER
    assert found["later"]["status"] == "queued"
    assert (found["queued"]["status"], found["picked"]["queue_manager_id"]) == ("queued", None)


@CLAIMS
async def test_a_job_without_heartbeats_is_claimed_by_another(
    connection: asyncpg.Connection, claim: Claim
) -> None:
    (gone, _alive) = await enqueued(connection, "gone", "alive", owner=OTHER)
    await lost(connection, "gone")
    assert await claim(connection, 10) == [gone]
    found = await states(connection)
    assert found["gone"]["queue_manager_id"] == OWNER
    assert found["alive"]["queue_manager_id"] == OTHER
    assert await claim(connection, 10) == []


async def test_jobs_that_wait_and_lost_ones_are_claimed_in_one_order(
    connection: asyncpg.Connection,
) -> None:
    (late, later) = await enqueued(connection, "a", "b", priority=-2, owner=OTHER)
    (soon,) = await enqueued(connection, "c", priority=-1)
    (soonest,) = await enqueued(connection, "d", priority=0)
    await lost(connection, "a", "b")
    assert await claimed(connection, 2) == [soonest, soon]
    assert await claimed(connection, 2) == [late, later]


@CLAIMS
async def test_a_job_that_another_session_is_claiming_is_not_waited_for(
    connection: asyncpg.Connection, database: str, claim: Claim
) -> None:
    await enqueued(connection, "gone, being claimed", "gone", owner=OTHER)
    await enqueued(connection, "waits, being claimed", "waits")
    await lost(connection, "gone, being claimed", "gone")
    async with another_session(database) as other, other.transaction():
        await other.execute(
            "SELECT FROM ext_scheduler.pgqueuer WHERE dedupe_key LIKE '%claimed' FOR UPDATE"
        )
        await connection.execute("SET lock_timeout = '20s'")
        free = await claim(connection, 10)
    found = await states(connection)
    taken = {name for name, row in found.items() if row["queue_manager_id"] == OWNER}
    assert (len(free), taken) == (2, {"gone", "waits"})


async def test_the_wait_is_that_of_the_next_job_where_no_more_wait_now(
    connection: asyncpg.Connection,
) -> None:
    assert (await queue.claim(connection, OWNER, 1, TIMEOUT)).wait is None
    await of_another_program(connection)
    await enqueued(connection, "now")
    await enqueued(connection, "in an hour", delay=HOUR)
    await enqueued(connection, "in two", delay=2 * HOUR)
    full = await queue.claim(connection, OWNER, 1, TIMEOUT)
    assert (len(full.jobs), full.wait) == (1, None)
    none = await queue.claim(connection, OWNER, 1, TIMEOUT)
    assert none.jobs == []
    assert none.wait is not None
    assert HOUR / 2 < none.wait <= HOUR


async def test_a_claim_hands_over_what_was_enqueued(connection: asyncpg.Connection) -> None:
    (id_,) = await enqueued(connection, "a")
    (job,) = (await queue.claim(connection, OWNER, 1, TIMEOUT)).jobs
    assert (job.id, queue.read_payload(job.payload)) == (id_, PAYLOAD)


@pytest.mark.parametrize("payload", [None, b"", b"rubbish", b'{"tenant_id": "tenant-1"}'])
def test_a_payload_of_another_program_is_said_to_be_unreadable(payload: bytes | None) -> None:
    with pytest.raises(UnreadablePayloadError):
        queue.read_payload(payload)


def test_a_manual_run_has_another_job_than_the_scheduled_one() -> None:
    text = f"extsched:{OWNER}:{OTHER}:2026-03-02T12:00:00Z"
    assert queue.dedupe_key(OWNER, OTHER, "2026-03-02T12:00:00Z", "scheduled") == text
    assert queue.dedupe_key(OWNER, OTHER, "2026-03-02T12:00:00Z", "manual") == f"{text}:manual"


async def raising(connection: asyncpg.Connection, code: str) -> None:
    """Let the database refuse that the job called ``poison`` is claimed."""
    await connection.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN RAISE EXCEPTION SQLSTATE '{code}'; END $$"
    )
    await connection.execute(
        "CREATE TRIGGER refuse BEFORE UPDATE ON ext_scheduler.pgqueuer FOR EACH ROW"
        " WHEN (OLD.dedupe_key = 'poison') EXECUTE FUNCTION refuse()"
    )


async def test_a_job_that_the_database_refuses_is_named_and_the_others_claimed(
    connection: asyncpg.Connection,
) -> None:
    (before, poison, after) = await enqueued(connection, "before", "poison", "after")
    await raising(connection, "23514")
    jobs, refused = await queue.claim_singly(connection, OWNER, 10, TIMEOUT)
    assert [job.id for job in jobs] == [before, after]
    assert {id_: type(error) for id_, error in refused.items()} == {
        poison: asyncpg.CheckViolationError
    }


async def test_a_job_that_is_locked_for_now_is_no_poison(connection: asyncpg.Connection) -> None:
    await enqueued(connection, "before", "poison")
    await raising(connection, "55P03")
    with pytest.raises(asyncpg.LockNotAvailableError):
        await queue.claim_singly(connection, OWNER, 10, TIMEOUT)
    assert await queue.depth(connection) == 2


async def test_only_unknown_jobs_of_an_owner_are_held_the_most_urgent_first(
    connection: asyncpg.Connection,
) -> None:
    (later,) = await enqueued(connection, "later", priority=-1, owner=OWNER)
    (known, sooner) = await enqueued(connection, "known", "sooner", owner=OWNER)
    await enqueued(connection, "of another", owner=OTHER)
    await enqueued(connection, "of nobody")
    held = await queue.held(connection, OWNER, [known])
    assert [job.id for job in held] == [sooner, later]
    assert all(isinstance(job, Job) for job in held)


async def test_an_owner_ends_its_own_jobs_and_no_others(connection: asyncpg.Connection) -> None:
    (ended, _kept) = await enqueued(connection, "ended", "kept", owner=OWNER)
    (foreign,) = await enqueued(connection, "of another", owner=OTHER)
    await queue.end(connection, [ended, foreign], OWNER)
    assert set(await states(connection)) == {"kept", "of another"}


async def test_jobs_of_several_owners_end_together(connection: asyncpg.Connection) -> None:
    (one, stolen, _kept) = await enqueued(connection, "a", "stolen", "kept", owner=OWNER)
    (two,) = await enqueued(connection, "b", owner=OTHER)
    await queue.end_owned(
        connection, [OwnedJob(one, OWNER), OwnedJob(stolen, uuid4()), OwnedJob(two, OTHER)]
    )
    assert set(await states(connection)) == {"stolen", "kept"}


async def test_an_owner_releases_its_own_jobs_and_no_others(connection: asyncpg.Connection) -> None:
    (soon, late, _kept) = await enqueued(connection, "soon", "late", "kept", owner=OWNER)
    (foreign,) = await enqueued(connection, "of another", owner=OTHER)
    released = [(soon, timedelta(0)), (late, HOUR), (foreign, timedelta(0))]
    await queue.release(connection, released, OWNER)
    found = await states(connection)
    assert {name: (row["status"], row["attempts"]) for name, row in found.items()} == {
        "soon": ("queued", 1),
        "late": ("queued", 1),
        "kept": ("picked", 0),
        "of another": ("picked", 0),
    }
    assert found["soon"]["queue_manager_id"] is None
    assert HOUR / 2 < found["late"]["wait"] <= HOUR
    assert [job.id for job in (await queue.claim(connection, OWNER, 9, TIMEOUT)).jobs] == [soon]


async def test_a_heartbeat_is_written_for_the_owners_jobs_whose_last_is_old(
    connection: asyncpg.Connection,
) -> None:
    (old, recent, _unnamed) = await enqueued(connection, "old", "recent", "unnamed", owner=OWNER)
    (foreign,) = await enqueued(connection, "of another", owner=OTHER)
    await lost(connection, "old", "unnamed", "of another")
    before = await states(connection)
    await queue.heartbeat(connection, [old, recent, foreign], OWNER, TIMEOUT)
    after = await states(connection)
    written = {name for name in after if after[name]["heartbeat"] != before[name]["heartbeat"]}
    assert written == {"old"}


async def test_the_depth_counts_the_jobs_that_wait(connection: asyncpg.Connection) -> None:
    await of_another_program(connection)
    await enqueued(connection, "worked on", owner=OTHER)
    assert await queue.depth(connection) == 0
    await enqueued(connection, "now", "too")
    await enqueued(connection, "later", delay=HOUR)
    assert await queue.depth(connection) == 3

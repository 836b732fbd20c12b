"""What planning writes: one run and one job for each slot, claimed at once where that is wanted."""

from datetime import timedelta
from uuid import uuid4

import asyncpg
from msgspec import structs

from service.storage.runs import occurrences, queue
from service.storage.runs.direct_claims import DirectClaim
from service.storage.runs.occurrences import Occurrence, PlannedOccurrences, plan, plan_manual_run
from service.storage.schedules import timers
from service.storage.schedules.timers import Timer
from tests.support.run_records import INSTALL, LEASE, SLOT, holders, occurrence, payload, read

NOW = SLOT + timedelta(seconds=2)
MINUTE = timedelta(minutes=1)
JOBS = """
SELECT dedupe_key, status::text, queue_manager_id, priority, payload,
  execute_after - created AS delay, id
FROM ext_scheduler.pgqueuer
"""


def claim_of(*wanted: Occurrence) -> DirectClaim:
    keys = frozenset((each.tenant_id, each.schedule_id) for each in wanted)
    return DirectClaim(owner=uuid4(), worker="worker-7", lease=LEASE, schedules=keys)


def name(each: Occurrence) -> str:
    return queue.dedupe_key(
        each.install_id, each.schedule_id, occurrences.slot_text(each.slot), each.kind
    )


async def jobs(connection: asyncpg.Connection) -> dict[str, asyncpg.Record]:
    return {row["dedupe_key"]: row for row in await connection.fetch(JOBS)}


async def test_a_slot_gets_one_run_and_one_job(connection: asyncpg.Connection) -> None:
    assert await plan(connection, [], NOW) == PlannedOccurrences()
    one = structs.replace(occurrence(), priority=-3, delay=timedelta(minutes=2), missed=4)
    two = structs.replace(occurrence(), trigger="catchup")
    keys = {(each.tenant_id, each.schedule_id) for each in (one, two)}
    assert await plan(connection, [one, two], NOW) == PlannedOccurrences(keys)
    run = await read(connection, one)
    assert (run.status, run.attempts, run.fence, run.worker) == ("queued", 0, 0, None)
    assert (run.lease_until, run.started_at, run.next_slot) == (None, None, one.next_slot)
    assert (await read(connection, two)).trigger == "catchup"
    missed = await connection.fetch("SELECT schedule_id, missed FROM ext_scheduler.runs")
    assert {row["schedule_id"]: row["missed"] for row in missed} == {
        one.schedule_id: 4,
        two.schedule_id: 0,
    }
    found = await jobs(connection)
    assert set(found) == {name(one), name(two)}
    job = found[name(one)]
    assert (job["status"], job["queue_manager_id"], job["priority"]) == ("queued", None, -3)
    assert job["delay"] == timedelta(minutes=2)
    assert queue.read_payload(job["payload"]) == payload(one)


async def test_a_slot_that_was_planned_before_gets_nothing_more(
    connection: asyncpg.Connection,
) -> None:
    before, new = occurrence(), occurrence()
    await plan(connection, [before], NOW)
    await connection.execute("DELETE FROM ext_scheduler.pgqueuer")  # it has run
    assert await plan(connection, [before], NOW) == PlannedOccurrences()
    assert await jobs(connection) == {}
    planned = await plan(connection, [before, new], NOW)
    assert planned == PlannedOccurrences({(new.tenant_id, new.schedule_id)})
    assert set(await jobs(connection)) == {name(new)}


async def test_occurrences_of_the_claim_are_written_as_claimed_and_no_others(
    connection: asyncpg.Connection,
) -> None:
    one, two, other = occurrence(), occurrence(), occurrence()
    claim = claim_of(one, two)
    planned = await plan(connection, [one, other, two], NOW, claim)
    assert len(planned.new) == 3
    found = await jobs(connection)
    assert {each.run.id: each.id for each in planned.claimed} == {
        each.id: found[name(each)]["id"] for each in (one, two)
    }
    for job in planned.claimed:
        assert job.run == await read(connection, job.run)
        assert (job.run.status, job.run.attempts, job.run.fence) == ("running", 1, 1)
        assert (job.run.started_at, job.run.lease_until) == (NOW, NOW + LEASE)
        assert job.run.worker == "worker-7"
    run = await read(connection, other)
    assert (run.status, run.attempts, run.worker, run.lease_until) == ("queued", 0, None, None)
    for each in (one, two):
        written = found[name(each)]
        assert (written["status"], written["queue_manager_id"]) == ("picked", claim.owner)
    assert found[name(other)]["queue_manager_id"] is None
    assert await holders(connection) == {one.schedule_id: one.id, two.schedule_id: two.id}


async def test_a_claim_of_a_slot_that_was_planned_before_holds_nothing(
    connection: asyncpg.Connection,
) -> None:
    before, new = occurrence(), occurrence()
    await plan(connection, [before], NOW)
    planned = await plan(connection, [before, new], NOW, claim_of(before, new))
    assert [each.run.id for each in planned.claimed] == [new.id]
    assert await holders(connection) == {new.schedule_id: new.id}
    assert (await read(connection, before)).status == "queued"


async def test_a_run_whose_job_is_still_there_is_not_handed_out_as_claimed(
    connection: asyncpg.Connection,
) -> None:
    left, new = occurrence(), occurrence()
    await plan(connection, [left], NOW)
    await connection.execute("DELETE FROM ext_scheduler.runs")
    planned = await plan(connection, [left, new], NOW, claim_of(left, new))
    assert len(planned.new) == 2
    assert [each.run.id for each in planned.claimed] == [new.id]


async def test_a_schedule_with_an_active_run_is_not_claimed(
    connection: asyncpg.Connection,
) -> None:
    running = occurrence()
    following = structs.replace(running, slot=SLOT + MINUTE)
    await plan(connection, [running], NOW, claim_of(running))
    planned = await plan(connection, [following], NOW + MINUTE, claim_of(following))
    assert (len(planned.new), planned.claimed) == (1, [])
    assert (await read(connection, following)).status == "queued"
    assert await holders(connection) == {running.schedule_id: running.id}


async def test_a_manual_run_is_one_for_each_minute(connection: asyncpg.Connection) -> None:
    schedule, noted = uuid4(), SLOT + 5 * MINUTE
    for id_, due in ((uuid4(), SLOT + MINUTE), (schedule, noted)):
        timer = Timer("tenant-1", id_, INSTALL, "*/5 * * * *", "UTC", due)
        await timers.add(connection, [timer])
    now = SLOT + timedelta(seconds=42, microseconds=17)
    id_, new = await plan_manual_run(connection, "tenant-1", INSTALL, schedule, now)
    assert (id_, new) == (occurrences.occurrence_id(schedule, SLOT, "manual"), True)
    run = await read(connection, occurrence(schedule, kind="manual"))
    assert (run.id, run.trigger, run.next_slot) == (id_, "run_now", noted)
    later = now + timedelta(seconds=10)
    assert await plan_manual_run(connection, "tenant-1", INSTALL, schedule, later) == (id_, False)
    other, new = await plan_manual_run(connection, "tenant-1", INSTALL, schedule, now + MINUTE)
    assert (other != id_, new) == (True, True)
    assert len(await jobs(connection)) == 2


async def test_the_slot_that_is_due_now_does_not_bound_a_manual_run(
    connection: asyncpg.Connection,
) -> None:
    schedule = uuid4()
    timer = Timer("tenant-1", schedule, INSTALL, "*/5 * * * *", "UTC", SLOT)
    await timers.add(connection, [timer])
    await plan_manual_run(connection, "tenant-1", INSTALL, schedule, SLOT)
    assert (await read(connection, occurrence(schedule, kind="manual"))).next_slot is None


def test_the_first_occurrence_of_each_tenant_goes_before_the_second_of_any() -> None:
    tenants = ("a", "a", "b", "a", "b")
    ranked = occurrences.prioritised([occurrence(tenant_id=tenant) for tenant in tenants])
    assert [(each.tenant_id, each.priority) for each in ranked] == [
        ("a", 0),
        ("a", -1),
        ("b", 0),
        ("a", -2),
        ("b", -1),
    ]

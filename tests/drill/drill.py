"""One drill from beginning to end, and what it left behind."""

import asyncio
import random
import time
from collections.abc import Callable

import asyncpg
import msgspec
from msgspec import Struct

from tests.drill.changes import CHANGED_EVERY_S, OFTEN_S, Owners
from tests.drill.faults import MINUTE, Faults
from tests.drill.history import History, Row, Run, Stored
from tests.drill.plants import Plant
from tests.drill.stage import Stage, staged, stop
from tests.support.eventually import eventually

RUNS = """
SELECT id, schedule_id, slot, kind, trigger, status, attempts, missed, queued_at, started_at,
  finished_at, error
FROM ext_scheduler.runs
"""
STORED = """
SELECT coalesce(s.id, t.schedule_id) AS id, coalesce(s.cron, '') AS cron,
  coalesce(s.timezone, '') AS timezone, coalesce(s.enabled, false) AS enabled,
  coalesce(s.name, '') AS name, coalesce(s.payload_json, '{}')::text AS payload,
  coalesce(s.revision, 0) AS revision, s.last_run_at, s.last_run_status, t.due_at,
  coalesce(t.missed, 0) AS missed
FROM tenant_extension_schedule s
FULL JOIN ext_scheduler.timers t ON t.tenant_id = s.tenant_id AND t.schedule_id = s.id
"""
UNFINISHED = "SELECT count(*) FROM ext_scheduler.runs WHERE status IN ('queued', 'running')"
STOPPED_WITHIN_S = 20.0
"""What comes due while all are told to stop would look as if nobody cared for it."""


class Options(Struct, frozen=True, kw_only=True):
    """``calm``: with an undisturbed slot before and after the trouble, and a long outage in it.

    ``slow``: runs wait behind a slow Runner, while what they are for is changed, and more often.
    The trouble goes on until there were ``least_faults``, however long those take.
    """

    seed: int = 1
    schedules: int = 3000
    installs: int = 60
    trouble_s: float = 330.0
    least_faults: int = 0
    gap_s: float = 5.5
    planned_within_s: float = 15.0
    calm: bool = True
    slow: bool = False
    plant: Plant | None = None


async def run(options: Options, tell: Callable[[str], None]) -> History:
    """Run a drill. Raises AssertionError when the system does not settle afterwards."""
    chance = random.Random(options.seed)
    async with staged(options.installs, options.plant, slow=options.slow) as stage:
        began = time.time()
        every_s = OFTEN_S if options.slow else CHANGED_EVERY_S
        owners = Owners(stage.hosts, chance, every_s)
        faults = Faults(stage, random.Random(options.seed))
        await owners.seed(options.schedules)
        tell(f"{options.schedules} schedules created in {time.time() - began:.0f} s")
        stopping = asyncio.Event()
        changing = asyncio.create_task(owners.go_on(stopping))
        if options.calm:
            await until_after_slot(options)
        until = time.time() + options.trouble_s
        if not options.calm:
            # Short as it is, one slot lies in it.
            until = max(until, time.time() + -time.time() % MINUTE + 4)
        tell(f"trouble for {until - time.time():.0f} s, while schedules are changed")
        troubles = [faults.inflict(until, options.gap_s, options.least_faults)]
        if options.calm:
            troubles.append(faults.outage(options.trouble_s / 2))
        await asyncio.gather(*troubles)
        tell(f"{len(faults.troubles)} faults; now all comes back")
        await stage.all_ready()
        await (until_after_slot if options.calm else until_planned)(options)
        stopping.set()
        await changing
        await settled_between_slots(stage, options)
        await stop(stage.kept)
        stopped = time.time()
        tell("all processes are stopped")
        return await history(stage, (began, stopped, options.planned_within_s), owners, faults)


async def until_after_slot(options: Options) -> None:
    """Wait until the next slot has gone by, and whatever is due then has been planned."""
    await asyncio.sleep(-time.time() % MINUTE)
    await until_planned(options)


async def until_planned(options: Options) -> None:
    """Wait until whatever is due now must have been planned."""
    await asyncio.sleep(options.planned_within_s + 2.0)


async def settled_between_slots(stage: Stage, options: Options) -> None:
    """Wait until no run is under way, and none comes due until all have stopped."""
    while await settled(stage) and -time.time() % MINUTE < STOPPED_WITHIN_S:
        await until_after_slot(options)


async def settled(stage: Stage) -> bool:
    """Wait until no run is under way; False where there is no end to some."""
    connection = await asyncpg.connect(stage.postgres.dsn)

    async def none_left() -> bool:
        return bool(await connection.fetchval(UNFINISHED) == 0)

    try:
        await eventually(none_left, within=90)
    except AssertionError:
        return False  # the checker says which
    else:
        return True
    finally:
        await connection.close()


async def history(
    stage: Stage, times: tuple[float, float, float], owners: Owners, faults: Faults
) -> History:
    """Gather what everybody remembers, the database included."""
    began, stopped, planned_within = times
    connection = await asyncpg.connect(stage.postgres.dsn)
    try:
        runs = [run_of(row) for row in await connection.fetch(RUNS)]
        stored = [stored_of(row) for row in await connection.fetch(STORED)]
    finally:
        await connection.close()
    return History(
        began=began,
        stopped=stopped,
        planned_within=planned_within,
        changes=owners.changes,
        refusals=owners.refusals,
        troubles=faults.troubles,
        spans=[span for kept in stage.kept if kept.role == "worker" for span in kept.spans],
        exits=[ended for kept in stage.kept for ended in kept.exits],
        calls=stage.runner.calls,
        runs=runs,
        stored=stored,
    )


def run_of(row: asyncpg.Record) -> Run:
    """A run record, its instants as Unix seconds."""
    return Run(
        id=str(row["id"]),
        schedule_id=str(row["schedule_id"]),
        slot=row["slot"].timestamp(),
        kind=row["kind"],
        trigger=row["trigger"],
        status=row["status"],
        attempts=row["attempts"],
        missed=row["missed"],
        queued=row["queued_at"].timestamp(),
        started=_seconds(row, "started_at"),
        finished=_seconds(row, "finished_at"),
        error=row["error"],
    )


def stored_of(row: asyncpg.Record) -> Stored:
    """A schedule row with its timer."""
    return Stored(
        schedule_id=str(row["id"]),
        row=Row(
            cron=row["cron"],
            timezone=row["timezone"],
            enabled=row["enabled"],
            name=row["name"],
            payload=msgspec.json.decode(row["payload"]),
        ),
        revision=row["revision"],
        last_run_at=_seconds(row, "last_run_at"),
        last_run_status=row["last_run_status"],
        due=_seconds(row, "due_at"),
        missed=row["missed"],
    )


def _seconds(row: asyncpg.Record, name: str) -> float | None:
    instant = row[name]
    return None if instant is None else float(instant.timestamp())

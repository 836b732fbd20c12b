"""One drill from beginning to end, and what it left behind."""

import asyncio
import random
import time
from collections.abc import Callable
from pathlib import Path

import asyncpg
import msgspec
from msgspec import Struct, structs

from tests.drill.environment import DrillEnvironment, drill_environment, stop
from tests.drill.fault_injection import MINUTE, FaultInjection
from tests.drill.history import History, Probe, Row, Run, Stored
from tests.drill.planted_faults import PlantedFault
from tests.drill.probing import probe_all_the_time, record_load
from tests.drill.workload import CHANGED_EVERY_S, OFTEN_S, Workload
from tests.support.eventually import eventually
from tests.support.tested_commit import tested_commit

RUNS = """
SELECT id, schedule_id, slot, kind, trigger, status, attempts, fence, missed, queued_at,
  started_at, finished_at, error
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
"""What comes due while all processes stop would look as if it had been lost."""


class Options(Struct, frozen=True, kw_only=True):
    """``calm``: with an undisturbed slot before and after the faults, and a long outage in it.

    ``slow``: runs wait behind a slow Runner, while what they are for is changed, and more often.
    The injection of faults goes on until there were ``least_faults``, however long those take.
    ``only``: no kinds of faults but these, and neither outage nor failover.
    ``previous``: the program of an earlier release, from which the system is upgraded meanwhile.
    """

    seed: int = 1
    schedules: int = 3000
    installs: int = 60
    faults_for_s: float = 330.0
    least_faults: int = 0
    gap_s: float = 5.5
    planned_within_s: float = 15.0
    calm: bool = True
    slow: bool = False
    failover: bool = True
    only: tuple[str, ...] = ()
    previous: Path | None = None
    planted_fault: PlantedFault | None = None


async def run(options: Options, tell: Callable[[str], None]) -> History:
    """Run a drill. Raises AssertionError when the system does not settle afterwards."""
    chance, commit = random.Random(options.seed), tested_commit()
    async with drill_environment(
        options.installs,
        options.planted_fault,
        slow=options.slow,
        previous=options.previous,
    ) as environment:
        began = time.time()
        every_s = OFTEN_S if options.slow else CHANGED_EVERY_S
        workload = Workload(environment.hosts, chance, every_s)
        injection = FaultInjection(environment, random.Random(options.seed), options.only)
        await workload.seed(options.schedules)
        tell(f"{options.schedules} schedules created in {time.time() - began:.0f} s")
        stopping = asyncio.Event()
        changing = asyncio.create_task(workload.go_on(stopping))
        probes: list[Probe] = []
        probing = asyncio.create_task(probe_all_the_time(environment.probe, probes, stopping))
        loads: list[float] = []
        watching = asyncio.create_task(record_load(loads, stopping))
        if options.calm:
            await until_after_slot(options)
        until = time.time() + options.faults_for_s
        if not options.calm:
            # Short as it is, one slot lies in it.
            until = max(until, time.time() + -time.time() % MINUTE + 4)
        tell(f"faults for {until - time.time():.0f} s, while schedules are changed")
        injections = [injection.inject(until, options.gap_s, options.least_faults)]
        if options.failover and not options.only:
            injections.append(injection.fail_over(options.faults_for_s / 3))
        if options.calm and not options.only:
            injections.append(injection.outage(options.faults_for_s / 2))
        if options.previous is not None:
            injections.append(injection.upgrade(options.faults_for_s / 2))
        await asyncio.gather(*injections)
        tell(f"{len(injection.faults)} faults; now all comes back")
        await environment.all_ready()
        recovered = time.time()
        await until_after_slot(options)
        stopping.set()
        await asyncio.gather(changing, probing, watching)
        await settled_between_slots(environment, options)
        await stop(environment.processes)
        stopped = time.time()
        tell("all processes are stopped")
        times = (began, stopped, options.planned_within_s)
        found = await history(environment, times, workload, injection)
        return structs.replace(
            found,
            probes=probes,
            not_injected=environment.not_injected,
            recovered=recovered,
            loads=loads,
            commit=commit,
        )


async def until_after_slot(options: Options) -> None:
    """Wait until the next slot has gone by, and whatever is due then has been planned."""
    await asyncio.sleep(-time.time() % MINUTE)
    await until_planned(options)


async def until_planned(options: Options) -> None:
    """Wait until whatever is due now must have been planned."""
    await asyncio.sleep(options.planned_within_s + 2.0)


async def settled_between_slots(environment: DrillEnvironment, options: Options) -> None:
    """Wait until no run is under way, and none comes due until all have stopped."""
    while await settled(environment) and -time.time() % MINUTE < STOPPED_WITHIN_S:
        await until_after_slot(options)


async def settled(environment: DrillEnvironment) -> bool:
    """Wait until no run is under way; False where there is no end to some."""
    connection = await asyncpg.connect(environment.database.postgres.dsn)

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
    environment: DrillEnvironment,
    times: tuple[float, float, float],
    workload: Workload,
    injection: FaultInjection,
) -> History:
    """Return all that was recorded, the database included."""
    began, stopped, planned_within = times
    connection = await asyncpg.connect(environment.database.postgres.dsn)
    try:
        runs = [run_of(row) for row in await connection.fetch(RUNS)]
        stored = [stored_of(row) for row in await connection.fetch(STORED)]
    finally:
        await connection.close()
    return History(
        began=began,
        stopped=stopped,
        planned_within=planned_within,
        changes=workload.changes,
        refusals=workload.refusals,
        faults=[*injection.faults, *environment.runner.deaths],
        spans=[
            span
            for process in environment.processes
            if process.role == "worker"
            for span in process.spans
        ],
        exits=[ended for process in environment.processes for ended in process.exits],
        calls=environment.runner.calls,
        runs=runs,
        stored=stored,
    )


def run_of(row: asyncpg.Record) -> Run:
    """Return a run record, its instants as Unix seconds."""
    return Run(
        id=str(row["id"]),
        schedule_id=str(row["schedule_id"]),
        slot=row["slot"].timestamp(),
        kind=row["kind"],
        trigger=row["trigger"],
        status=row["status"],
        attempts=row["attempts"],
        fence=row["fence"],
        missed=row["missed"],
        queued=row["queued_at"].timestamp(),
        started=_seconds(row, "started_at"),
        finished=_seconds(row, "finished_at"),
        error=row["error"],
    )


def stored_of(row: asyncpg.Record) -> Stored:
    """Return a schedule row with its timer."""
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

"""Compares what is in the database, and what the Runner saw, with what the oracle expects."""

from collections import Counter, defaultdict
from datetime import datetime
from itertools import pairwise
from uuid import UUID

import asyncpg

from tests.simulation.oracle import Expectation
from tests.simulation.scripted_runner import AnswerKind, CallRecord, scripted
from tests.simulation.simulation import Simulation
from tests.simulation.violations import ViolationKind

MOST_ATTEMPTS = 4
RUNS = """
SELECT id, schedule_id, slot, kind, trigger, status, attempts, missed, http_status, error
FROM ext_scheduler.runs ORDER BY slot
"""
TIMERS = "SELECT schedule_id, due_at, missed FROM ext_scheduler.timers"
ENDS = "SELECT run_id FROM ext_scheduler.outbox WHERE type IN ('run.succeeded', 'run.failed')"
SUCCESSES = {AnswerKind.OK, AnswerKind.TWICE}
FAILURES = {AnswerKind.FAILED, AnswerKind.REFUSED}


async def judge(world: Simulation) -> None:
    """Judge a world whose workers have nothing left to do."""
    runs = await world.control.fetch(RUNS)
    timers = {row["schedule_id"]: row for row in await world.control.fetch(TIMERS)}
    ends = Counter(row["run_id"] for row in await world.control.fetch(ENDS))
    by_schedule = defaultdict(list)
    for run in runs:
        by_schedule[run["schedule_id"]].append(run)
        world.tally.counts[f"run: {run['status']}"] += 1
    for id_, schedule in world.oracle.schedules.items():
        _judge_slots(world, id_, schedule, by_schedule[id_], timers.get(id_))
        _judge_timer(world, id_, schedule, timers.get(id_))
    _judge_ends(world, runs, ends)
    _judge_calls(world, runs)
    world.tally.counts["call"] += len(world.runner.calls)
    for fate, count in world.oracle.fates.items():
        world.tally.counts[f"slot: {fate.value}"] += count


def _judge_slots(
    world: Simulation,
    id_: UUID,
    schedule: Expectation,
    runs: list[asyncpg.Record],
    timer: asyncpg.Record | None,
) -> None:
    found = world.tally.found
    about = f"{schedule.cron} {schedule.timezone} {id_}"
    slots = Counter(run["slot"] for run in runs if run["kind"] == "scheduled")
    triggers = {run["slot"]: run["trigger"] for run in runs if run["kind"] == "scheduled"}
    for slot, count in slots.items():
        if count > 1:
            found(ViolationKind.TWICE, f"{about} at {slot}")
    grouped = {slot for group in schedule.groups for slot in group}
    for slot in slots.keys() - schedule.must.keys() - schedule.may - grouped:
        found(ViolationKind.NOT_DUE, f"{about} at {slot}")
    for slot, trigger in schedule.must.items():
        if slot not in slots:
            found(ViolationKind.MISSING, f"{about} at {slot}")
        elif trigger not in {None, triggers[slot]} and slot not in grouped:
            found(ViolationKind.TRIGGER, f"{about} at {slot}: {triggers[slot]}, not {trigger}")
    least, most = schedule.least, schedule.missed
    for group in schedule.groups:
        unfired = sum(slot not in slots for slot in group)
        least += unfired
        most += len(group) if schedule.stepped_back else unfired
    least -= schedule.undecided
    counted = sum(run["missed"] for run in runs) + (timer["missed"] if timer is not None else 0)
    if not least <= counted <= most:
        found(ViolationKind.MISCOUNTED, f"{about}: {counted}, not {least} to {most}")


def _judge_timer(
    world: Simulation, id_: UUID, schedule: Expectation, timer: asyncpg.Record | None
) -> None:
    expected: set[datetime | None] = {None}
    if schedule.enabled and not schedule.deleted:
        expected = {
            world.oracle.slots.following(schedule.cron, schedule.timezone, after)
            for after in (schedule.walked, min(schedule.walked, world.clock.now))
        }
    due_at = None if timer is None else timer["due_at"]
    if due_at not in expected:
        about = f"{schedule.cron} {schedule.timezone} {id_}: {due_at}, not {expected}"
        world.tally.found(ViolationKind.TIMER, about)


def _judge_ends(world: Simulation, runs: list[asyncpg.Record], ends: Counter[UUID]) -> None:
    called = {(call.key, call.attempt) for call in world.runner.calls if call.in_time}
    for run in runs:
        about = f"run {run['id']} of {run['schedule_id']} at {run['slot']}: {dict(run)}"
        status, attempts = run["status"], run["attempts"]
        if status in {"queued", "running"}:
            world.tally.found(ViolationKind.UNFINISHED, about)
            continue
        if attempts > MOST_ATTEMPTS:
            world.tally.found(ViolationKind.TOO_OFTEN, about)
        answer = scripted(world.seed, world.number(run["schedule_id"]), run["slot"], attempts)
        if status == "success":
            if (run["id"], attempts) not in called:
                world.tally.found(ViolationKind.UNCALLED, about)
            if answer.kind not in SUCCESSES or run["http_status"] != answer.status:
                world.tally.found(ViolationKind.STALE, about)
        elif _shows_failure(run) and run["http_status"] not in _failures(world, run, called):
            world.tally.found(ViolationKind.STALE, about)
        if ends[run["id"]] != (status in {"success", "error"}):
            world.tally.found(ViolationKind.TOLD_TWICE, f"{ends[run['id']]} events: {about}")


def _shows_failure(run: asyncpg.Record) -> bool:
    """Return whether it shows what an attempt was answered."""
    failed: bool = run["status"] == "error" and run["http_status"] is not None
    return failed and run["error"] != "worker lost"


def _failures(
    world: Simulation, run: asyncpg.Record, called: set[tuple[UUID, int]]
) -> set[int | None]:
    """Return the statuses of the failures that a run was answered."""
    answers = [
        scripted(world.seed, world.number(run["schedule_id"]), run["slot"], attempt)
        for attempt in range(1, run["attempts"] + 1)
        if (run["id"], attempt) in called
    ]
    return {answer.status for answer in answers if answer.kind in FAILURES}


def _judge_calls(world: Simulation, runs: list[asyncpg.Record]) -> None:
    known = {run["id"] for run in runs}
    attempts: set[tuple[UUID, int]] = set()
    by_schedule: defaultdict[UUID, list[CallRecord]] = defaultdict(list)
    for call in world.runner.calls:
        about = f"{call.key} of {call.schedule_id} attempt {call.attempt} at {call.at}"
        if call.key not in known:
            world.tally.found(ViolationKind.UNKNOWN, about)
        if not call.active:
            world.tally.found(ViolationKind.INACTIVE, about)
        if not call.in_time:
            world.tally.counts["call refused: past its deadline"] += 1
            continue
        if (call.key, call.attempt) in attempts:
            world.tally.found(ViolationKind.REPEATED, about)
        attempts.add((call.key, call.attempt))
        by_schedule[call.schedule_id].append(call)
    for calls in by_schedule.values():
        for before, after in pairwise(calls):
            ended = before.ended is not None and before.ended < after.began
            if not ended and after.at < before.due:
                about = f"{before.key} at {before.at} and {after.key} at {after.at}"
                world.tally.found(ViolationKind.AT_ONCE, about)

"""Faults planted on purpose: a drill that does not notice them would be worth nothing.

As a program (``python -m tests.drill.planted_faults FAULT serve --role worker``) it is a worker
with one.
"""

import sys
from collections.abc import Sequence
from enum import StrEnum
from uuid import uuid4

import asyncpg
from msgspec import structs

from service.cli.main import main
from service.rules.outcomes import CallOutcome
from service.storage.engine.connection import Connection
from service.storage.runs import attempts, invocations, occurrences
from service.storage.runs.invocations import Invocation
from service.storage.schedules import timers
from service.worker import planner, timer_plan
from service.worker.runner_client import RunnerCall, RunnerClient
from service.worker.timer_plan import TimerPlan

IGNORED_EVERY = 200


class PlantedFault(StrEnum):
    """What is wrong with the workers."""

    TWICE = "twice"
    """Occurrences are no longer unique, and planners do not mind each other."""
    SKIP = "skip"
    """One in that many slots is passed over."""
    KEYS = "keys"
    """Each attempt has an idempotency key of its own."""
    STALE = "stale"
    """What was loaded once for a schedule's calls is gone by for ever after."""


DROP_UNIQUENESS = """
ALTER TABLE ext_scheduler.runs DROP CONSTRAINT runs_pkey,
  DROP CONSTRAINT runs_tenant_id_schedule_id_slot_kind_key
"""


def program(planted_fault: PlantedFault | None) -> tuple[str, ...]:
    """Return the command that starts a process, without the arguments of ``serve``."""
    module = (
        ("service",)
        if planted_fault is None
        else ("tests.drill.planted_faults", planted_fault.value)
    )
    return (sys.executable, "-m", *module)


async def prepare(connection: asyncpg.Connection, planted_fault: PlantedFault) -> None:
    """Plant what has to be in the database."""
    if planted_fault is PlantedFault.TWICE:
        await connection.execute(DROP_UNIQUENESS)


def plan_twice() -> None:
    """Take what others have taken, and write it whether it is there or not."""
    conflict = "ON CONFLICT (tenant_id, schedule_id, slot, kind) DO NOTHING"
    lock = "FOR UPDATE SKIP LOCKED"
    assert conflict in occurrences.INSERT_RUNS
    assert lock in timers.TAKE_DUE
    setattr(occurrences, "INSERT_RUNS", occurrences.INSERT_RUNS.replace(conflict, ""))  # noqa: B010 - a constant is what is tampered with
    setattr(timers, "TAKE_DUE", timers.TAKE_DUE.replace(lock, ""))  # noqa: B010 - likewise


def skip_slots() -> None:
    """Move some timers on without an occurrence."""
    honest = timer_plan.plan_timer

    def plan_timer(*arguments: object) -> TimerPlan:
        made: TimerPlan = honest(*arguments)  # type: ignore[arg-type]  # passed through
        occurrence = made.occurrence
        if occurrence is not None and occurrence.id.int % IGNORED_EVERY == 0:
            return structs.replace(made, occurrence=None)
        return made

    setattr(planner, "plan_timer", plan_timer)  # noqa: B010 - a function is what is tampered with


def make_up_keys() -> None:
    """Call with keys that no occurrence has."""
    honest = RunnerClient.call

    async def call(self: RunnerClient, call: RunnerCall) -> CallOutcome:
        return await honest(self, structs.replace(call, idempotency_key=uuid4()))

    setattr(RunnerClient, "call", call)  # noqa: B010 - likewise


def never_look_again() -> None:
    """Take a schedule for what it was at its first call: there, and enabled."""
    honest = invocations.load
    known: dict[attempts.RunKey, Invocation] = {}

    async def load(connection: Connection, keys: Sequence[attempts.RunKey]) -> list[Invocation]:
        found = await honest(connection, keys)
        known.update(
            (key, each)
            for key, each in zip(keys, found, strict=True)
            if each.exists and each.enabled and key not in known
        )
        return [known.get(key, each) for key, each in zip(keys, found, strict=True)]

    setattr(invocations, "load", load)  # noqa: B010 - likewise


PLANTED = {
    PlantedFault.TWICE: plan_twice,
    PlantedFault.SKIP: skip_slots,
    PlantedFault.KEYS: make_up_keys,
    PlantedFault.STALE: never_look_again,
}

if __name__ == "__main__":
    PLANTED[PlantedFault(sys.argv.pop(1))]()
    main()

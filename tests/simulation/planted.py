"""Faults planted on purpose: a simulation that does not notice them would be worth nothing."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from random import Random
from re import compile as pattern_of
from types import SimpleNamespace
from typing import Any, TypeVar
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo

import pytest
from msgspec import structs

from service.rules import outcomes, planning
from service.rules.cron import Cron
from service.rules.outcomes import CallOutcome, RetryRules
from service.rules.planning import DueDecision, PlanningRules
from service.rules.slots import next_slot
from service.storage.engine.connection import Connection
from service.storage.runs import invocations, queue
from service.storage.runs.invocations import Invocation
from service.storage.schedules import firing_state
from service.storage.schedules.firing_state import ScheduleState
from service.worker import direct_claims
from service.worker.firing import attempt_store
from service.worker.runner_client import RunnerCall, RunnerClient
from tests.drill.planted_faults import DROP_UNIQUENESS
from tests.simulation import scripted_runner
from tests.simulation.scripted_runner import AnswerKind

T = TypeVar("T")
Key = tuple[str, UUID]

OWNER_OR_FREE = (
    r"WHERE \(a\.run_id = excluded\.run_id[^)]*\)\s+OR a\.held_until < excluded\.held_since"
)
OFTEN_FAILING = {AnswerKind.OK: 65, AnswerKind.FAILED: 35}
"""Answers of a Runner that makes many runs need another attempt."""


class Plant:
    """A fault of the workers: patterns are replaced in statements, code is tampered with.

    Without any, nothing is planted. ``schema`` are statements for the database; ``struck`` counts.
    """

    def __init__(
        self,
        *replaced: tuple[str, str],
        schema: str = "",
        tamper: Callable[["Plant", pytest.MonkeyPatch], None] | None = None,
    ) -> None:
        self.name: str | None = None
        self.struck = 0
        self.schema = schema
        self._replaced = [(pattern_of(pattern), text) for pattern, text in replaced]
        self._tamper = tamper

    def rewrite(self, query: str) -> str:
        """Return the statement to run in place of this one."""
        for pattern, text in self._replaced:
            query, count = pattern.subn(text, query)
            self.struck += count
        return query

    @contextmanager
    def active(self) -> Iterator[None]:
        """Have the fault within the context."""
        with pytest.MonkeyPatch.context() as patch:
            if self._tamper is not None:
                self._tamper(self, patch)
            yield


def _forget_slots(plant: Plant, patch: pytest.MonkeyPatch) -> None:
    """Have the planner forget a slot after it has caught up."""
    honest = planning.evaluate_due

    def evaluate_due(
        cron: Cron,
        zone: ZoneInfo,
        slot: datetime,
        now: datetime,
        rules: PlanningRules,
        *,
        late: bool,
    ) -> DueDecision:
        decision = honest(cron, zone, slot, now, rules, late=late)
        if not decision.catchup:
            return decision
        plant.struck += 1
        return structs.replace(decision, following=next_slot(cron, zone, decision.following))

    patch.setattr(planning, "evaluate_due", evaluate_due)


def _look_early(plant: Plant, patch: pytest.MonkeyPatch) -> None:
    """Have the planner claim at once by what it saw of a schedule when it planned it before."""
    read, load = firing_state.read, invocations.load
    states: dict[Key, ScheduleState] = {}
    loaded: dict[Key, Invocation] = {}

    async def read_early(connection: Connection, keys: Sequence[Key]) -> dict[Key, ScheduleState]:
        return _earlier(plant, states, await read(connection, keys))

    async def load_early(connection: Connection, keys: Sequence[Key]) -> list[Invocation]:
        found = dict(zip(keys, await load(connection, keys), strict=True))
        return list(_earlier(plant, loaded, found).values())

    patch.setattr(firing_state, "read", read_early)
    patch.setattr(direct_claims, "invocations", SimpleNamespace(load=load_early))


def _earlier(plant: Plant, known: dict[Key, T], found: dict[Key, T]) -> dict[Key, T]:
    """Return what was found the last time, where it was; remember what is found now."""
    seen = {key: known.get(key, each) for key, each in found.items()}
    plant.struck += seen != found
    known.update(found)
    return seen


def _never_end(plant: Plant, patch: pytest.MonkeyPatch) -> None:
    """Have no last attempt, and a Runner that needs many."""
    honest = outcomes.retry_at

    def retry_at(
        attempt: int, now: datetime, following: datetime | None, rules: RetryRules, chance: float
    ) -> datetime | None:
        plant.struck += attempt > len(rules.delays)
        return honest(min(attempt, len(rules.delays)), now, following, rules, chance)

    patch.setattr(RetryRules, "max_attempts", 1_000)
    patch.setattr(attempt_store, "retry_at", retry_at)
    patch.setattr(scripted_runner, "ANSWERS", OFTEN_FAILING)


def _take_long(_plant: Plant, patch: pytest.MonkeyPatch) -> None:
    """Have a Runner that works for longer than a job whose worker is gone is left alone."""
    patch.setattr(scripted_runner, "SLOW_SHARE", 0.5)
    patch.setattr(scripted_runner, "SLOW_S", (32, 35))


def _lose_retries(plant: Plant, patch: pytest.MonkeyPatch) -> None:
    """End some jobs that are to wait for a retry; where runs without a job are repaired, no harm.

    As many are lost otherwise only by answers to a COMMIT that are lost at the same statement.
    """
    honest, random = queue.release, Random(1)

    async def release(
        connection: Connection, jobs: Sequence[tuple[int, timedelta]], owner: UUID
    ) -> None:
        lost = [job for job in jobs if random.random() < 0.2]
        plant.struck += len(lost)
        await queue.end(connection, [id_ for id_, _ in lost], owner)
        await honest(connection, [job for job in jobs if job not in lost], owner)

    patch.setattr(queue, "release", release)
    patch.setattr(scripted_runner, "ANSWERS", OFTEN_FAILING)


def _make_up_keys(plant: Plant, patch: pytest.MonkeyPatch) -> None:
    """Call with a key that the attempt has for itself."""
    honest = RunnerClient.call

    async def call(self: RunnerClient, call: RunnerCall) -> CallOutcome:
        plant.struck += 1
        attempt: Any = call.request.context.attempt
        own = uuid5(call.idempotency_key, str(attempt))
        return await honest(self, structs.replace(call, idempotency_key=own))

    patch.setattr(RunnerClient, "call", call)


PLANTED: Mapping[str, Callable[[], Plant]] = {
    "no-fence": lambda: Plant(
        (r"CASE WHEN r\.status = 'running' THEN r\.fence = e\.fence END", "true")
    ),
    "no-unique-key": lambda: Plant(
        (r"ON CONFLICT \(tenant_id, schedule_id, slot, kind\) DO NOTHING", ""),
        schema=DROP_UNIQUENESS,
    ),
    "no-hold": lambda: Plant((OWNER_OR_FREE, "")),
    "forgotten-slot": lambda: Plant(tamper=_forget_slots),
    "no-look": lambda: Plant(
        (r"coalesce\(s\.enabled, false\) AS enabled,", "true AS enabled,"),
        (r"coalesce\(i\.is_enabled AND [^)]*\) AS install_enabled", "true AS install_enabled"),
        (r"p\.tenant_id IS NOT NULL AS paused", "false AS paused"),
    ),
    "early-look": lambda: Plant(tamper=_look_early),
    "no-lease": lambda: Plant(
        (r"r\.lease_until, r\.retry_at,", "NULL::timestamptz, r.retry_at,"),
        tamper=_take_long,
    ),
    "no-limit": lambda: Plant(tamper=_never_end),
    "no-takeover": lambda: Plant(
        (r"q\.heartbeat < now\(\) - (\$4::interval AND q\.entry)", r"now() < now() - \1")
    ),
    "no-repair": lambda: Plant(
        (r"WHERE q\.id IS NULL AND r\.queued_at BETWEEN", "WHERE false AND r.queued_at BETWEEN"),
        tamper=_lose_retries,
    ),
    "own-keys": lambda: Plant(tamper=_make_up_keys),
}
"""By name, what takes one guard away."""

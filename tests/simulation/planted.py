"""Faults planted on purpose: a simulation that does not notice them would be worth nothing."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from zoneinfo import ZoneInfo

from msgspec import structs

from service.rules import planning
from service.rules.cron import Cron
from service.rules.planning import DueDecision, PlanningRules
from service.rules.slots import next_slot
from tests.drill.planted_faults import DROP_UNIQUENESS


class Plant:
    """A fault in the statements of the workers: ``pattern`` is replaced where it is found.

    Without one, nothing is planted. ``schema`` are statements for the database; ``struck`` counts.
    """

    def __init__(self, pattern: str = "", replacement: str = "", schema: str = "") -> None:
        self.name: str | None = None
        self.struck = 0
        self.schema = schema
        self._pattern = re.compile(pattern) if pattern else None
        self._replacement = replacement

    def rewrite(self, query: str) -> str:
        """Return the statement to run in place of this one."""
        if self._pattern is None:
            return query
        changed, count = self._pattern.subn(self._replacement, query)
        self.struck += count
        return changed

    @contextmanager
    def active(self) -> Iterator[None]:
        """Have the fault within the context."""
        yield


class ForgottenSlot(Plant):
    """A planner that forgets a slot after it has caught up."""

    @contextmanager
    def active(self) -> Iterator[None]:
        """Have the fault within the context."""
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
            self.struck += 1
            return structs.replace(decision, following=next_slot(cron, zone, decision.following))

        setattr(planning, "evaluate_due", evaluate_due)  # noqa: B010 - a function is tampered with
        try:
            yield
        finally:
            setattr(planning, "evaluate_due", honest)  # noqa: B010 - likewise


PLANTED: Mapping[str, Callable[[], Plant]] = {
    "no-fence": lambda: Plant(
        r"CASE WHEN r\.status = 'running' THEN r\.fence = e\.fence END", "true"
    ),
    "no-unique-key": lambda: Plant(
        r"ON CONFLICT \(tenant_id, schedule_id, slot, kind\) DO NOTHING", "", DROP_UNIQUENESS
    ),
    "no-hold": lambda: Plant(
        r"WHERE \(a\.run_id = excluded\.run_id[^)]*\)\s+OR a\.held_until < excluded\.held_since"
    ),
    "forgotten-slot": ForgottenSlot,
}
"""By name, what takes one guard away."""

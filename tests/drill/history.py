"""What a drill remembers, and all that the checker knows. Times are Unix seconds."""

from typing import Any

from msgspec import Struct

DATABASE_CLOCK = "clock of PostgreSQL's host stepped"
"""The kind of fault in which the times in the tables and in tokens are not those of the drill."""
MIGRATED = "migrated under the earlier release"
"""The event, in the form of a fault, from which on the earlier release does not start."""
CLOCK_STEP_S = 5
"""By how many seconds at most: less than the leeway of tokens, and than a lease outlasts its call.
"""
CLOCK_READ_S = 1.0
"""For how long a process may still go by the clock as it was."""


class Row(Struct, frozen=True, kw_only=True):
    """A schedule as its owner wants it."""

    cron: str
    timezone: str
    enabled: bool
    name: str
    payload: dict[str, Any]

    @property
    def timing(self) -> tuple[str, str, bool]:
        """Return what decides on slots."""
        return self.cron, self.timezone, self.enabled


class Change(Struct, frozen=True, kw_only=True):
    """An acknowledged change; it happened between ``asked`` and ``answered``.

    ``row`` is the schedule after it, None when it was deleted. Changes of one schedule never
    overlap.
    """

    schedule_id: str
    asked: float
    answered: float
    row: Row | None


class Refusal(Struct, frozen=True):
    """A change that was answered otherwise than by success, though nothing was wrong with it."""

    at: float
    what: str


class Fault(Struct, frozen=True):
    """A fault, from its beginning until what it hit could work again."""

    kind: str
    began: float
    ended: float


class Probe(Struct, frozen=True):
    """An honest request, asked once; ``answered`` is None where it was not."""

    asked: float
    answered: float | None


class Span(Struct, frozen=True):
    """A time in which a worker was ready, and neither dead nor frozen."""

    began: float
    ended: float


class Exit(Struct, frozen=True):
    """The end of a process. ``cause`` is killed, stopped or itself; ``words`` its last line.

    ``was_ready``: whether it had been ready before, so that this is not the end of a start.
    """

    name: str
    at: float
    cause: str
    status: int
    words: str
    traceback: bool
    was_ready: bool = True


class Call(Struct, frozen=True, kw_only=True):
    """A request as the Runner saw it, and what it answered.

    ``signed`` is the time in its token, None where the token proves nothing. A ``status`` of None
    means that it came after its deadline and was not acted upon.
    """

    key: str
    schedule_id: str
    slot: float
    attempt: int
    signed: int | None
    received: float
    answered: float
    status: int | None


class Run(Struct, frozen=True, kw_only=True):
    """A run record at the end; ``fence`` counts its claims, also those that made no attempt."""

    id: str
    schedule_id: str
    slot: float
    kind: str
    trigger: str
    status: str
    attempts: int
    fence: int
    missed: int
    queued: float
    started: float | None
    finished: float | None
    error: str | None


class Stored(Struct, frozen=True, kw_only=True):
    """A schedule row at the end, with its timer: ``due`` is None where there is none."""

    schedule_id: str
    row: Row
    revision: int
    last_run_at: float | None
    last_run_status: str | None
    due: float | None
    missed: int


class History(Struct, frozen=True, kw_only=True):
    """A whole drill. Workers were stopped, in an orderly way, at ``stopped``.

    ``planned_within`` are the seconds of undisturbed work in which whatever is due must have been
    planned: less than the 30 s after which a slot is late, and more than a busy machine takes. At
    ``recovered`` every process was ready again after the last fault. ``loads`` are the machine's
    load averages over a minute, from beginning to end; ``commit`` is what was tested.
    """

    began: float
    stopped: float
    planned_within: float
    changes: list[Change]
    refusals: list[Refusal]
    faults: list[Fault]
    spans: list[Span]
    exits: list[Exit]
    calls: list[Call]
    runs: list[Run]
    stored: list[Stored]
    probes: list[Probe] = []
    not_injected: list[str] = []
    recovered: float = 0.0
    loads: list[float] = []
    commit: str = ""

    @property
    def written_within(self) -> float:
        """Return for how many seconds it may be under way to the tables that a run has ended."""
        return self.planned_within / 5

    def clock_error(self, at: float) -> float:
        """Return by how many seconds the database's clock may have been wrong around then."""
        most = CLOCK_STEP_S + CLOCK_READ_S
        wrong = any(
            fault.began - most <= at <= fault.ended + most
            for fault in self.faults
            if fault.kind == DATABASE_CLOCK
        )
        return most if wrong else 0.0

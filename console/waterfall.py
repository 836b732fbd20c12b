"""The waterfall of a run: from its slot over each attempt to the answer. Pure geometry."""

from datetime import datetime

from msgspec import Struct

from contracts.admin_insight import GetRunOutput
from contracts.times import read_time, wire_time

WIDTH = 600
ROW_HEIGHT = 28
MIN_WIDTH = 2.0


class Phase(Struct, frozen=True, kw_only=True):
    """A stretch of a run's time; ``milliseconds`` is how long it took, or takes so far."""

    label: str
    kind: str
    begins: str
    ends: str
    milliseconds: int
    x: float
    y: float
    width: float


class Waterfall(Struct, frozen=True, kw_only=True):
    """Phases, one below the other, over ``milliseconds`` in all."""

    phases: list[Phase]
    milliseconds: int
    width: int = WIDTH
    height: int = 0


def waterfall(detail: GetRunOutput, now: datetime) -> Waterfall:
    """Return the phases of a run: planned, waiting, and each attempt's call."""
    stretches = _stretches(detail, now)
    begin = min(began for _, _, began, _ in stretches)
    total = max(ended for _, _, _, ended in stretches) - begin
    whole = total.total_seconds() or 1.0
    phases = []
    for index, (label, kind, began, ended) in enumerate(stretches):
        seconds = (ended - began).total_seconds()
        phases.append(
            Phase(
                label=label,
                kind=kind,
                begins=wire_time(began),
                ends=wire_time(ended),
                milliseconds=round(seconds * 1000),
                x=round((began - begin).total_seconds() / whole * WIDTH, 2),
                y=index * ROW_HEIGHT,
                width=round(max(MIN_WIDTH, seconds / whole * WIDTH), 2),
            )
        )
    return Waterfall(
        phases=phases,
        milliseconds=round(total.total_seconds() * 1000),
        height=len(phases) * ROW_HEIGHT,
    )


def _stretches(detail: GetRunOutput, now: datetime) -> list[tuple[str, str, datetime, datetime]]:
    run = detail.run
    slot, queued = read_time(run.slot), read_time(run.queued_at)
    stretches = [("Slot to planned", "planned", min(slot, queued), queued)]
    if run.kind == "manual":
        # Its slot is the minute in which somebody asked for it, which it was not late for.
        stretches = [("Asked for and planned", "planned", queued, queued)]
    reached = queued
    for attempt in detail.attempts:
        if attempt.started_at is None:
            continue
        started = max(read_time(attempt.started_at), reached)
        waiting = "Planned to claimed" if attempt.attempt == 1 else "Waiting for the next attempt"
        stretches.append((waiting, "waiting", reached, started))
        reached = started
        if attempt.finished_at is not None:
            reached = max(started, read_time(attempt.finished_at))
        elif attempt.status == "running":
            reached = max(started, now)
        label = f"Attempt {attempt.attempt}: called to answered"
        stretches.append((label, attempt.status, started, reached))
    if detail.retry_at is not None:
        retry = read_time(detail.retry_at)
        stretches.append(("Waiting for the next attempt", "waiting", reached, max(retry, reached)))
    elif run.status == "queued":
        stretches.append(("Planned, not yet claimed", "waiting", reached, max(now, reached)))
    return stretches

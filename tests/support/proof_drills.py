"""What the drills of the proof showed: their size, and the seconds to heal."""

from collections.abc import Sequence
from statistics import median
from typing import Any

from tests.drill.results import Expected

SLOTS = (
    Expected.FIRED,
    Expected.CAUGHT_UP,
    Expected.COUNTED,
    Expected.IN_DOUBT_FIRED,
    Expected.IN_DOUBT_NOT,
)
"""What may have become of a slot: each is judged once."""


PLANNED_WITHIN_S = 15.0
"""What was due had to be planned in so many undisturbed seconds, unless a drill says otherwise."""


def of_drill(drill: dict[str, Any]) -> str:
    """Return what distinguishes a drill from others."""
    words = [f"PostgreSQL {drill['postgres']}"]
    if drill.get("previous"):
        words.append(f"upgraded from `{drill['previous'][:12]}`")
    if drill.get("only"):
        words.append("only " + " and ".join(drill["only"]))
    return ", ".join(words)


def size_of_drills(drills: Sequence[dict[str, Any]]) -> str:
    """Return how many faults, changes, slots and calls there were, and processes that stopped."""
    faults = sum(sum(drill["faults"].values()) for drill in drills)
    changes = sum(drill["changes"] for drill in drills)
    stopped = _count(drills, Expected.STOPPED)
    return (
        f"{faults:,} faults, {changes:,} changes, {_count(drills, *SLOTS):,} slots,"
        f" {_count(drills, Expected.CALLED):,} calls, {stopped:,} stops with status 0"
    )


def load_of_drill(drill: dict[str, Any]) -> str:
    """Return how busy the machine was where that is known, and how much time it had to plan."""
    load, within = drill.get("load"), drill.get("planned_within_s", PLANNED_WITHIN_S)
    words = f", {drill['processors']} processors with a load of {load}" if load else ""
    return words if within == PLANNED_WITHIN_S else f"{words}, planned within {within:g} s"


def healing_table(drills: Sequence[dict[str, Any]]) -> str:
    """Return seconds to heal, of all drills together."""
    lines = ["| fault | injected | request answered | due slot called |", "|---|--:|--:|--:|"]
    for kind in sorted({kind for drill in drills for kind in drill["faults"]}, key=str.lower):
        of_kind = [each for drill in drills for each in drill["healing"] if each["kind"] == kind]
        injected = sum(drill["faults"].get(kind, 0) for drill in drills)
        cells = (
            _figures([seconds for each in of_kind for seconds in each[sign]])
            for sign in ("requests", "firings")
        )
        lines.append(f"| {kind} | {injected} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _count(drills: Sequence[dict[str, Any]], *outcomes: Expected) -> int:
    return sum(drill["expected"].get(each.value, 0) for drill in drills for each in outcomes)


def _figures(seconds: list[float]) -> str:
    if not seconds:
        return "—"
    return f"{median(seconds):.1f} / {max(seconds):.1f} ({len(seconds)})"

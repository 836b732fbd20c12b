"""How long after a fault the first honest request is answered and the first due slot is called.

Counted from the end of the fault, a failover from its beginning. A slot that comes due later is
counted from then on: before it nothing was to be called.
"""

from collections import defaultdict
from collections.abc import Sequence
from math import ceil
from statistics import median

from msgspec import Struct, field

from tests.drill.history import Fault, History

MINUTE = 60.0
HEALED_WITHIN_S = 10.0
FAILOVERS = {"primary killed, standby promoted", "primary frozen, standby promoted"}
"""Counted from their beginning: what was hit never works again."""


class Healing(Struct, kw_only=True):
    """The seconds to heal from all faults of a kind.

    ``disturbed`` are measurements left out because another fault lay in between.
    """

    kind: str
    requests: list[float] = field(default_factory=list)
    firings: list[float] = field(default_factory=list)
    disturbed: int = 0

    @property
    def late(self) -> int:
        """Return how many measurements are above the limit."""
        return sum(seconds > HEALED_WITHIN_S for seconds in (*self.requests, *self.firings))


def healing(history: History) -> list[Healing]:
    """Return the heal times by kind of fault, in alphabetical order."""
    answered = sorted(
        (probe.asked, probe.answered) for probe in history.probes if probe.answered is not None
    )
    calls: defaultdict[float, list[float]] = defaultdict(list)
    for call in history.calls:
        calls[call.slot].append(call.received)
    kinds = {kind: Healing(kind=kind) for kind in sorted({each.kind for each in history.faults})}
    for fault in history.faults:
        found = kinds[fault.kind]
        over = fault.began if fault.kind in FAILOVERS else fault.ended
        replies = [replied for asked, replied in answered if asked >= over]
        _measure(found, found.requests, fault, over, replies, history)
        slot = ceil(fault.began / MINUTE) * MINUTE
        received = [at for due, times in calls.items() if due >= slot for at in times]
        _measure(found, found.firings, fault, max(slot, over), received, history)
    return list(kinds.values())


def lines(healed: Sequence[Healing]) -> list[str]:
    """Return the table: median and longest seconds of each kind, and how many are above 10 s."""
    titles = (
        f"{'':34}{'request answered':>24}{'due slot called':>24}{'too late':>10}{'disturbed':>11}"
    )
    return [
        f"healing in seconds, at most {HEALED_WITHIN_S:.0f}: median / longest (measurements)",
        titles,
        *(
            f"  {each.kind:32}{_figures(each.requests):>24}{_figures(each.firings):>24}"
            f"{each.late:>10}{each.disturbed:>11}"
            for each in healed
        ),
    ]


def _measure(
    found: Healing,
    into: list[float],
    fault: Fault,
    since: float,
    signs: Sequence[float],
    history: History,
) -> None:
    """Append the seconds to the first sign, unless another fault lay in between."""
    first = min(signs, default=None)
    if first is None:
        return
    healed = max(first, since)
    others = (other for other in history.faults if other is not fault)
    if any(other.began <= healed and other.ended >= since for other in others):
        found.disturbed += 1
    else:
        into.append(healed - since)


def _figures(seconds: Sequence[float]) -> str:
    if not seconds:
        return "-"
    return f"{median(seconds):.1f} / {max(seconds):.1f} ({len(seconds)})"

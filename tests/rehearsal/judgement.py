"""What a rehearsal has to show: each slot fired once, but for those of the announced pauses."""

from collections import Counter
from collections.abc import Iterable, Sequence
from uuid import UUID

from msgspec import Struct

MINUTE_S = 60


class Firing(Struct, frozen=True):
    """One call for a slot (Unix seconds), and who made it."""

    schedule_id: UUID
    slot: float
    by: str


class Pause(Struct, frozen=True):
    """When a pause was announced, and when it was over (Unix seconds)."""

    began: float
    ended: float

    def holds(self, slot: float) -> bool:
        """Return whether nothing has to fire at a slot."""
        return self.began <= slot <= self.ended


class Counts(Struct, frozen=True):
    """How the slots of one group of schedules came out; ``by`` are its firings by who made them."""

    by: Counter[str]
    slots: int
    once: int
    in_pause: int
    twice: int
    lost: int
    unasked: int

    @property
    def violated(self) -> bool:
        """Return whether anything is not as it has to be."""
        return bool(self.twice or self.lost or self.unasked)


def slots_between(began: float, ended: float) -> list[float]:
    """Return the slots of an every-minute schedule from ``began`` to ``ended``."""
    first = -(-began // MINUTE_S) * MINUTE_S
    return [first + MINUTE_S * n for n in range(int((ended - first) // MINUTE_S) + 1)]


def judge(
    enabled: Iterable[UUID],
    disabled: Iterable[UUID],
    firings: Sequence[Firing],
    slots: Sequence[float],
    pauses: Sequence[Pause],
) -> Counts:
    """Compare the firings of some schedules with the slots at which they had to fire."""
    enabled, disabled = set(enabled), set(disabled)
    fired = Counter((each.schedule_id, each.slot) for each in firings)
    once = in_pause = lost = 0
    for schedule_id in enabled:
        for slot in slots:
            if fired[schedule_id, slot]:
                once += fired[schedule_id, slot] == 1
            elif any(pause.holds(slot) for pause in pauses):
                in_pause += 1
            else:
                lost += 1
    return Counts(
        by=Counter(each.by for each in firings if each.schedule_id in enabled),
        slots=len(enabled) * len(slots),
        once=once,
        in_pause=in_pause,
        twice=sum(1 for (id_, _), count in fired.items() if id_ in enabled and count > 1),
        lost=lost,
        unasked=sum(count for (id_, _), count in fired.items() if id_ in disabled),
    )

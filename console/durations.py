"""The chart of a schedule's durations: a bar per run, as high as it took."""

from collections.abc import Sequence

from msgspec import Struct

from console.charts import HEIGHT, WIDTH

MIN_BAR = 2.0


class DurationBar(Struct, frozen=True, kw_only=True):
    """A run, and where its bar is."""

    run_id: str
    slot: str
    status: str
    duration_ms: int | None
    x: float
    y: float
    width: float
    height: float


class DurationChart(Struct, frozen=True, kw_only=True):
    """Bars side by side; ``top_ms`` is the longest."""

    bars: list[DurationBar]
    top_ms: int
    width: int = WIDTH
    height: int = HEIGHT


def duration_bars(runs: Sequence[tuple[str, str, str, int | None]]) -> DurationChart:
    """Return a bar per (run id, slot, status, duration); one without a duration is flat."""
    top = max((duration or 0 for *_, duration in runs), default=0)
    step = WIDTH / max(1, len(runs))
    bars = []
    for index, (run_id, slot, status, duration) in enumerate(runs):
        height = max(MIN_BAR, (duration or 0) / top * HEIGHT) if top else MIN_BAR
        bars.append(
            DurationBar(
                run_id=run_id,
                slot=slot,
                status=status,
                duration_ms=duration,
                x=round(index * step, 2),
                y=round(HEIGHT - height, 2),
                width=round(step * 0.8, 2),
                height=round(height, 2),
            )
        )
    return DurationChart(bars=bars, top_ms=top)

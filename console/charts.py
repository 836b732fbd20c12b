"""Charts as figures for SVG: pure geometry, which templates draw. Units are those of viewBox."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from msgspec import Struct

WIDTH, HEIGHT = 600, 120


class ChartSegment(Struct, frozen=True, kw_only=True):
    """A part of a bar; ``kind`` is its class in the style sheet."""

    kind: str
    y: float
    height: float
    count: int


class ChartBar(Struct, frozen=True, kw_only=True):
    """What a bar stands for, where it is, and what is in it from the bottom to the top."""

    at: datetime
    x: float
    width: float
    total: int
    segments: list[ChartSegment]


class BarChart(Struct, frozen=True, kw_only=True):
    """Stacked bars side by side; ``top`` is the highest of them."""

    bars: list[ChartBar]
    top: int
    total: int
    width: int = WIDTH
    height: int = HEIGHT


def minutes(since: datetime, count: int) -> list[datetime]:
    """Return consecutive whole minutes, beginning with that of ``since``."""
    first = since.replace(second=0, microsecond=0)
    return [first + timedelta(minutes=index) for index in range(count)]


def stacked_bars(
    at: Sequence[datetime], counts: Mapping[datetime, Mapping[str, int]], kinds: Sequence[str]
) -> BarChart:
    """Return a bar per instant of ``at``, of the counts by kind, in the order of ``kinds``."""
    totals = [sum(counts.get(instant, {}).get(kind, 0) for kind in kinds) for instant in at]
    top = max(totals, default=0)
    step = WIDTH / max(1, len(at))
    bars = []
    for index, instant in enumerate(at):
        segments, y = [], float(HEIGHT)
        for kind in kinds:
            count = counts.get(instant, {}).get(kind, 0)
            if count:
                height = count / top * HEIGHT
                y -= height
                segments.append(
                    ChartSegment(kind=kind, y=round(y, 2), height=round(height, 2), count=count)
                )
        bars.append(
            ChartBar(
                at=instant,
                x=round(index * step, 2),
                width=round(step * 0.8, 2),
                total=totals[index],
                segments=segments,
            )
        )
    return BarChart(bars=bars, top=top, total=sum(totals))

"""The metrics of several processes as if they were one's."""

from collections.abc import Iterable, Iterator
from typing import TypeAlias

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from service.runtime.metrics import MAX_OVER_PROCESSES, MIN_OVER_PROCESSES

Series: TypeAlias = tuple[str, tuple[tuple[str, str], ...]]
"""Name and labels of a sample."""
ADDED_UP = frozenset({"counter", "histogram"})
"""Types whose values only ever rise, also when a process ends and another takes its place."""


class MergedMetrics(Collector):
    """Adds up what processes expose; what one that has ended had counted stays counted."""

    def __init__(self) -> None:
        self._families: dict[str, Metric] = {}
        self._live: dict[str, dict[str, dict[Series, float]]] = {}
        self._ended: dict[str, dict[Series, float]] = {}
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def update(self, process: str, exposition: str) -> None:
        """Replace what is known of a process by what it exposes now."""
        known: dict[str, dict[Series, float]] = {}
        for family in text_string_to_metric_families(exposition):
            if family.documentation or family.name not in self._families:
                self._families[family.name] = family
            known[family.name] = {
                (sample.name, tuple(sample.labels.items())): sample.value
                for sample in family.samples
            }
        self._live[process] = known

    def ended(self, process: str) -> None:
        """Keep what a process had counted when it was last read; forget its gauges."""
        for name, series in self._live.pop(process, {}).items():
            if self._families[name].type in ADDED_UP:
                self._ended[name] = _added(self._ended.get(name, {}), series)

    def collect(self) -> Iterator[Metric]:
        """Yield every family that any of the processes exposes or has exposed."""
        for name, known in self._families.items():
            values = [live[name] for live in self._live.values() if name in live]
            merged = self._merged(known, values)
            if merged or values:
                family = Metric(name, known.documentation, known.type)
                for (sample, labels), value in merged.items():
                    family.add_sample(sample, dict(labels), value)
                yield family

    def _merged(self, family: Metric, values: list[dict[Series, float]]) -> dict[Series, float]:
        if family.name in MAX_OVER_PROCESSES or family.name in MIN_OVER_PROCESSES:
            choose = max if family.name in MAX_OVER_PROCESSES else min
            series = dict.fromkeys(key for value in values for key in value)
            return {key: choose(v[key] for v in values if key in v) for key in series}
        total = self._ended.get(family.name, {}) if family.type in ADDED_UP else {}
        for value in values:
            total = _added(total, value)
        return total

    def exposition(self) -> bytes:
        """Return all of it in Prometheus' text format."""
        return generate_latest(self._registry)


def _added(one: dict[Series, float], other: dict[Series, float]) -> dict[Series, float]:
    keys: Iterable[Series] = dict.fromkeys((*one, *other))
    return {key: one.get(key, 0.0) + other.get(key, 0.0) for key in keys}

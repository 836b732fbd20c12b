"""What ``make bench-firing`` found, as tables for people and one line for programs."""

import msgspec
from msgspec import Struct

REPORTED = 10_000
IDLE_SIZES = (1_000, 1_000_000)


class Figures(Struct, frozen=True):
    """What one size came to. Rates a second, times in seconds from the slot, memory in MB."""

    size: int
    noop_drain: float
    rate: float
    planned_s: float
    done_s: float
    lateness: list[float]
    rss_mb: float
    worker_cpu_us: float
    database_cpu_us: float
    """CPU for each occurrence, from just before the slot: what does not change with the weather."""

    @property
    def ratio(self) -> float:
        """Occurrences for each job of the no-op drain."""
        return self.rate / self.noop_drain


def report(all_figures: list[Figures], looks: dict[int, dict[str, float]]) -> None:
    """Print the tables, and the one JSON object of the last line."""
    head = ("due at once", "no-op drain", "fired", "ratio", "planned", "done", "p50", "p99", "max")
    print("".join(f"{name:>12}" for name in (*head, "peak RSS")))
    for each in all_figures:
        late = "".join(f"{value:>10.2f} s" for value in each.lateness)
        print(
            f"{each.size:>12,}{each.noop_drain:>10,.0f}/s{each.rate:>10,.0f}/s{each.ratio:>12.2f}"
            f"{each.planned_s:>10.2f} s{each.done_s:>10.2f} s{late}{each.rss_mb:>9.0f} MB"
        )
    for each in all_figures:
        worker_us, database_us = each.worker_cpu_us, each.database_cpu_us
        print(
            f"{each.size:>12,} CPU each: worker {worker_us:.0f} µs, PostgreSQL {database_us:.0f} µs"
        )
    costs = {size: look["cpu_us"] + look["query_us"] for size, look in looks.items()}
    for size, look in looks.items():
        cpu, query = look["cpu_us"], look["query_us"]
        print(f"idle over {size:>9,} timers, each look: CPU {cpu:.0f} µs, queries {query:.0f} µs")
    few, many = IDLE_SIZES
    shown = next((each for each in all_figures if each.size == REPORTED), all_figures[-1])
    summary = {
        "noop_drain_per_s": round(shown.noop_drain),
        "occurrences_per_s": round(shown.rate),
        "ratio": round(shown.ratio, 3),
        "lateness_p50_s": round(shown.lateness[0], 3),
        "lateness_p99_s": round(shown.lateness[1], 3),
        "idle_cost_ratio": round(costs[many] / costs[few], 3),
        "worker_rss_mb": round(shown.rss_mb, 1),
    }
    print(msgspec.json.encode({"bench_firing": summary}).decode())

"""What ``make bench-firing`` found, as tables for people and one line for programs."""

import msgspec
from msgspec import Struct

REPORTED = 10_000
DEFAULT_ALG = "EdDSA"
HEADLINE_ALG = "HS256"
"""As in the benchmark of requests: what is measured is the service, with the cheapest signature."""
IDLE_SIZES = (1_000, 1_000_000)


class FiringFigures(Struct, frozen=True):
    """What one size came to. Rates a second, times in seconds from the slot, memory in MB."""

    size: int
    alg: str
    noop_drain: float
    noop_cpu_us: float
    """CPU for each job of the drain, of pgqueuer and PostgreSQL together."""
    rate: float
    planned_s: float
    done_s: float
    lateness: list[float]
    rss_mb: float
    cpu_us: list[float]
    """CPU for each occurrence of worker, PostgreSQL, bus and Runner, from just before the slot:
    it varies less with other load."""

    others: float = 0.0
    """Cores that other programs took in that time."""
    wal_bytes: float = 0.0
    """Bytes of write-ahead log for each occurrence."""

    @property
    def ratio(self) -> float:
        """Return the occurrences for each job of the no-op drain."""
        return self.rate / self.noop_drain

    @property
    def done_multiple(self) -> float:
        """Return the time from the slot to the end of the last run as a multiple of the drain's."""
        return self.done_s * self.noop_drain / self.size

    @property
    def p99_multiple(self) -> float:
        """Return the p99 lateness as a multiple of the drain's time until 99 of 100 are done."""
        return self.lateness[1] * self.noop_drain / (0.99 * self.size)

    @property
    def cpu_multiple(self) -> float:
        """Return the CPU of worker and PostgreSQL per occurrence as a multiple of the drain's."""
        return (self.cpu_us[0] + self.cpu_us[1]) / self.noop_cpu_us


def report(all_figures: list[FiringFigures], looks: dict[int, dict[str, float]]) -> None:
    """Print the tables, and the one JSON object of the last line."""
    head = (
        "due at once",
        "signed",
        "no-op drain",
        "fired",
        "ratio",
        "planned",
        "done",
        "p50",
        "p99",
        "max",
    )
    print("".join(f"{name:>12}" for name in (*head, "peak RSS")))
    for each in all_figures:
        late = "".join(f"{value:>10.2f} s" for value in each.lateness)
        print(
            f"{each.size:>12,}{each.alg:>12}{each.noop_drain:>10,.0f}/s{each.rate:>10,.0f}/s{each.ratio:>12.2f}"
            f"{each.planned_s:>10.2f} s{each.done_s:>10.2f} s{late}{each.rss_mb:>9.0f} MB"
        )
    for each in all_figures:
        names = ("worker", "PostgreSQL", "bus", "Runner")
        costs_us = zip(names, each.cpu_us, strict=True)
        parts = ", ".join(f"{name} {cost_us:.0f} µs" for name, cost_us in costs_us)
        drain = f"drain {each.noop_cpu_us:.0f} µs; {each.cpu_multiple:.2f} times the drain's"
        print(f"{each.size:>12,}{each.alg:>12} CPU each: {parts}, {drain}")
        multiples = f"done {each.done_multiple:.2f}, p99 {each.p99_multiple:.2f}"
        print(f"{'':>24} in times of the drain: {multiples}")
    costs = {size: look["cpu_us"] + look["query_us"] for size, look in looks.items()}
    for size, look in looks.items():
        cpu, query = look["cpu_us"], look["query_us"]
        print(f"idle over {size:>9,} timers, each look: CPU {cpu:.0f} µs, queries {query:.0f} µs")
    few, many = IDLE_SIZES
    headline = [each for each in all_figures if each.alg == HEADLINE_ALG]
    shown = next((each for each in headline if each.size == REPORTED), headline[-1])
    eddsa = next((each for each in all_figures if each.alg == DEFAULT_ALG), None)
    summary = {
        "noop_drain_per_s": round(shown.noop_drain),
        "occurrences_per_s": round(shown.rate),
        "ratio": round(shown.ratio, 3),
        **({} if eddsa is None else {"ratio_eddsa": round(eddsa.ratio, 3)}),
        "done_multiple": round(shown.done_multiple, 3),
        "cpu_multiple": round(shown.cpu_multiple, 3),
        "lateness_p50_s": round(shown.lateness[0], 3),
        "lateness_p99_s": round(shown.lateness[1], 3),
        "idle_cost_ratio": round(costs[many] / costs[few], 3),
        "worker_rss_mb": round(shown.rss_mb, 1),
    }
    print(msgspec.json.encode({"bench_firing": summary}).decode())

"""``make bench-fleet``: how many workers and PostgreSQL cores a number of schedules needs.

Fires 1,000, 10,000 and 50,000 schedules at one slot for real, with one worker process and with two,
and takes from the runs of 10,000 what an occurrence costs in CPU. The simulation of
``bench.fleet_model`` is fed with these costs alone, fires the same, and is held against the clock
of the real runs. Then it answers for fleets that are not here. With ``--costs FILE`` nothing runs,
and the costs are those of the file.

A machine that does other work, too, is simulated with the cores that were left.
"""

import argparse
import asyncio
import os
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import TypeAlias

import asyncpg
import msgspec
from msgspec import Struct

from bench.firing import FiringBench, database, fire, runner
from bench.firing_report import HEADLINE_ALG, FiringFigures
from bench.fleet_model import Costs, Fired, Fleet, simulate
from bench.fleet_needs import fleet_needs
from devstack.embedded import embedded_nats, embedded_postgres, private_directory

SIZES = (1_000, 10_000, 50_000)
MEASURED_AT = 10_000
PROCESSES = (1, 2)
COMMITS = 200
MAX_OFF = 0.2
WRITE = "INSERT INTO commits DEFAULT VALUES"

Runs: TypeAlias = dict[int, list[FiringFigures]]
"""Real runs of every size, by the number of worker processes."""


class Comparison(Struct, frozen=True):
    """A real run beside the simulated one."""

    size: int
    processes: int
    cores: float
    real: FiringFigures
    simulated: Fired

    @property
    def off(self) -> float:
        """By which share the simulated time until the last result differs from the real one."""
        return self.simulated.done_s / self.real.done_s - 1


async def commit_s(url: str) -> float:
    """Return how long a commit of one row takes, waiting for the disk, in seconds."""
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE TABLE commits (at timestamptz DEFAULT now())")
    taken = []
    for _ in range(COMMITS):
        began = time.perf_counter()
        await connection.execute(WRITE)
        taken.append(time.perf_counter() - began)
    await connection.close()
    return median(taken)


async def measure(
    stage: FiringBench, sizes: list[int]
) -> tuple[float, dict[int, list[FiringFigures]]]:
    """Fire every size with every number of processes; return a commit's time and the figures."""
    waited = await commit_s(await database(stage.postgres, "commits", migrated=False))
    figures: Runs = {}
    for processes in PROCESSES:
        figures[processes] = [
            await fire(stage, size, HEADLINE_ALG, processes=processes) for size in sizes
        ]
    return waited, figures


def costs_of(figures: FiringFigures, waited_s: float) -> Costs:
    """Return what an occurrence cost in a real run."""
    worker_us, postgres_us, bus_us, runner_us = figures.cpu_us
    return Costs(
        worker_us=worker_us,
        postgres_us=postgres_us,
        bus_us=bus_us,
        runner_us=runner_us,
        commit_s=waited_s,
        wal_bytes=figures.wal_bytes,
    )


def compare(processes: int, real: FiringFigures, costs: Costs) -> Comparison:
    """Simulate a real run on the cores that it had."""
    cores = (os.cpu_count() or 1) - real.others
    fleet = Fleet(workers=processes, postgres_cores=cores, shared=True)
    return Comparison(real.size, processes, cores, real, simulate(real.size, costs, fleet))


def show(comparisons: list[Comparison]) -> None:
    """Print real and simulated runs side by side."""
    head = (
        "due at once",
        "processes",
        "cores left",
        "done",
        "simulated",
        "off",
        "p50",
        "simulated",
    )
    print("".join(f"{name:>13}" for name in (*head, "p99", "simulated")))
    for each in comparisons:
        real, model = each.real, each.simulated
        print(
            f"{each.size:>13,}{each.processes:>13}{each.cores:>13.2f}"
            f"{real.done_s:>11.2f} s{model.done_s:>11.2f} s{each.off:>13.0%}"
            f"{real.lateness[0]:>11.2f} s{model.p50_s:>11.2f} s"
            f"{real.lateness[1]:>11.2f} s{model.p99_s:>11.2f} s"
        )
        parts = zip(("worker", "PostgreSQL", "bus", "Runner"), real.cpu_us, strict=True)
        print(f"{'':>13}CPU each: {', '.join(f'{name} {cost:.0f} µs' for name, cost in parts)}")


def real_runs(sizes: list[int]) -> tuple[Costs, list[Comparison]]:
    """Measure on servers of its own, and compare."""
    with ExitStack() as stack:
        directory = stack.enter_context(private_directory())
        postgres = stack.enter_context(embedded_postgres(directory / "postgres", durable=True))
        bus = stack.enter_context(embedded_nats(directory / "nats"))
        stage = FiringBench(directory, postgres, bus, stack.enter_context(runner(bus)).pid)
        waited_s, figures = asyncio.run(measure(stage, sizes))
    costs = {
        processes: costs_of(min(all_, key=lambda each: abs(each.size - MEASURED_AT)), waited_s)
        for processes, all_ in figures.items()
    }
    compared = [
        compare(processes, real, costs[processes])
        for processes, all_ in figures.items()
        for real in all_
    ]
    return costs[1], compared


def main() -> None:
    """Read the options, measure or read the costs, compare, answer."""
    options = argparse.ArgumentParser(prog="make bench-fleet", description=__doc__)
    options.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="fired for real")
    options.add_argument("--costs", type=Path, help="costs to read instead of measuring them")
    chosen = options.parse_args()
    compared: list[Comparison] = []
    if chosen.costs is None:
        costs, compared = real_runs(chosen.sizes)
        show(compared)
    else:
        costs = msgspec.json.decode(chosen.costs.read_bytes(), type=Costs)
    print(f"\nan occurrence costs {msgspec.json.encode(costs).decode()}\n")
    answered = fleet_needs(costs)
    summary = {
        "costs": costs,
        "off": {f"{each.size} by {each.processes}": round(each.off, 3) for each in compared},
        "worst_off": round(max((abs(each.off) for each in compared), default=0.0), 3),
        "within_20_percent": all(abs(each.off) <= MAX_OFF for each in compared),
        "answers": answered,
    }
    print(msgspec.json.encode({"bench_fleet": summary}).decode())


if __name__ == "__main__":
    main()

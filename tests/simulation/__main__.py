"""``make simulate``: simulated days and years of schedules under a moved clock and faults.

The real worker runs on a real database and a real bus. An oracle that walks over every minute says
what must become of each slot. Worlds follow each other until ``--slots`` had to be fired; the exit
status is 1 on any violation, and the command that repeats its world is printed.
"""

import argparse
import asyncio
import logging
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
from msgspec import structs

from devstack.embedded import embedded_nats, embedded_postgres, private_directory
from service.storage.engine.migrate import migrate
from tests.simulation.jobs import FailedJobError, results, run_in_processes, start
from tests.simulation.machine import WorldSize, run_world
from tests.simulation.oracle import Fate
from tests.simulation.planted import PLANTED, Plant
from tests.simulation.process import make_task
from tests.simulation.seeded import with_stable_hashes
from tests.simulation.simulated_clock import SHADOW, SimulatedLoop
from tests.simulation.violations import Tally, ViolationKind
from tests.support.planted_results import PLANTED_RESULTS, keep_planted
from tests.support.sources import ROOT
from tests.support.tested_commit import tested_commit

TEMPLATE = "simulated_template"
LARGE = 20_000
MOST_PLANTED = 2_000
"""After how many fired slots a planted fault counts as not found."""
SMALL = WorldSize(schedules=60, slots=300)
PROOF = ROOT / "docs" / "proof" / "simulation.json"
SHOWN = 5
TRACED = 200


def main() -> int:
    """Run; return the exit status."""
    with_stable_hashes()
    options = argparse.ArgumentParser(prog="make simulate", description=__doc__)
    options.add_argument(
        "--slots", type=int, default=1_000_000, help="slots that had to fire, in all"
    )
    options.add_argument("--seed", type=int, default=int(time.time()) % 1_000_000_000)
    options.add_argument("--schedules", type=int, default=1_000, help="schedules of a world")
    options.add_argument("--world", type=int, help="slots that had to fire, in a world")
    options.add_argument(
        "--seconds", type=float, default=1e9, help="begin nothing after so long, in all"
    )
    options.add_argument("--jobs", type=int, default=1, help="processes, each with its own worlds")
    options.add_argument("--plant", choices=sorted(PLANTED), help="a fault to be found")
    options.add_argument("--json", type=Path, help="file for the results, as JSON")
    options.add_argument(
        "--proof",
        action="store_true",
        help=f"plant each fault, too; write {PROOF.name} and {PLANTED_RESULTS.name};"
        " with --plant this fault alone",
    )
    chosen = options.parse_args()
    size = WorldSize(
        schedules=chosen.schedules,
        slots=chosen.world or min(LARGE, chosen.slots),
        seconds=chosen.seconds,
    )
    logging.disable(logging.CRITICAL)  # the workers report every fault
    print(f"seed {chosen.seed}", flush=True)
    if chosen.proof and chosen.plant:
        return 0 if keep_found(chosen.seed, chosen.plant) else 1
    file = PROOF if chosen.proof else chosen.json
    if chosen.jobs > 1:
        document = run_in_processes(chosen.jobs, chosen.seed, chosen.slots, size, chosen.plant)
        if file is not None:
            _write(file, document)
    else:
        document = run(chosen.seed, chosen.slots, size, chosen.plant, file)
    failed = any(document["violations"].values())
    if chosen.proof:
        found = {name: keep_found(chosen.seed, name) for name in PLANTED}
        failed = failed or not all(found.values())
    return 1 if failed else 0


def run(
    seed: int, slots: int, size: WorldSize, planted: str | None = None, file: Path | None = None
) -> dict[str, Any]:
    """Run worlds with a planted fault, or none; return the results, written after each world."""
    plant = PLANTED[planted]() if planted else Plant()
    plant.name = planted
    with plant.active(), asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        runner.get_loop().set_task_factory(make_task)  # type: ignore[arg-type]  # a generic one
        document: dict[str, Any] = runner.run(simulate(seed, slots, size, plant, file))
    assert planted is None or plant.struck, f"{planted} was not planted anywhere"
    return document


def keep_found(seed: int, planted: str) -> bool:
    """Plant a fault in small worlds, twice from the same seed; keep what was found, if anything.

    The digests of both tell whether the second repeated the first step by step.
    """
    print(f"planted: {planted}", flush=True)
    first, second = (in_its_own_process(seed, planted) for _ in range(2))
    found = [kind for kind, count in first["violations"].items() if count]
    keep_planted(
        "simulation",
        planted,
        {
            "found": found,
            "seed": seed,
            "commit": first["commit"],
            "worlds": first["worlds"],
            "fired": first["fired"],
            "steps": first["counts"]["step of a worker"],
            "digests": [first["digests"], second["digests"]],
        },
    )
    return bool(found)


def in_its_own_process(seed: int, planted: str) -> dict[str, Any]:
    """Run small worlds with a planted fault, as the command that is printed does."""
    words = f"--seed {seed} --slots {MOST_PLANTED} --plant {planted}"
    words += f" --schedules {SMALL.schedules} --world {SMALL.slots}"
    with private_directory() as directory:
        file = directory / "results.json"
        [document] = results([words], [start(words, file).wait()], [file])
    return document


async def simulate(
    seed: int, slots: int, size: WorldSize, plant: Plant, file: Path | None
) -> dict[str, Any]:
    """Run world after world, each with the next seed; return the results."""
    began, commit, worlds, document = time.monotonic(), tested_commit(), 0, dict[str, Any]()
    counts, violations, digests = Counter[str](), Counter[str](), list[str]()
    with (
        private_directory() as directory,
        embedded_postgres(directory / "postgres", settings={"autovacuum": "off"}) as postgres,
        embedded_nats(directory / "nats") as nats,
    ):
        await _make_template(postgres.dsn, postgres.dsn_of(TEMPLATE), plant)
        elapsed_s = 0.0
        while fired(counts) < slots and elapsed_s < size.seconds and not violations:
            database = f"world_{worlds}"
            await _execute(postgres.dsn, f"CREATE DATABASE {database} TEMPLATE {TEMPLATE}")
            left = structs.replace(size, seconds=size.seconds - elapsed_s)
            tally, trace = await run_world(
                seed + worlds, left, postgres.dsn_of(database), nats.url, plant.rewrite
            )
            await _execute(postgres.dsn, f"DROP DATABASE {database} WITH (FORCE)")
            counts.update(tally.counts)
            violations.update(found.kind.value for found in tally.violations)
            digests.append(f"{tally.digest:08x}")
            _report(seed + worlds, size, plant.name, tally, trace)
            worlds += 1
            elapsed_s = time.monotonic() - began
            document = {
                "seed": seed,
                "commit": commit,
                "worlds": worlds,
                "schedules_of_a_world": size.schedules,
                "slots": decided(counts),
                "fired": fired(counts),
                "seconds": round(elapsed_s),
                "processor_seconds": round(time.process_time()),
                "digests": digests,
                "counts": {name: count for name, count in sorted(counts.items()) if count},
                "violations": {kind.value: violations[kind.value] for kind in ViolationKind},
            }
            if file is not None:
                _write(file, document)
            print(
                f"{worlds} worlds, {decided(counts):,} slots, {fired(counts):,} of them fired,"
                f" {elapsed_s:.0f} s, digest {tally.digest:08x}",
                flush=True,
            )
    for name, count in sorted(counts.items()):
        print(f"  {count:10,}  {name}")
    return document


def decided(counts: Counter[str]) -> int:
    """Return how many slots were decided."""
    return sum(count for name, count in counts.items() if name.startswith("slot: "))


def fired(counts: Counter[str]) -> int:
    """Return how many slots were fired."""
    return sum(counts[f"slot: {fate.value}"] for fate in (Fate.FIRED, Fate.CAUGHT_UP))


def _write(file: Path, document: dict[str, Any]) -> None:
    file.write_bytes(msgspec.json.format(msgspec.json.encode(document)) + b"\n")


def _report(
    seed: int, size: WorldSize, planted: str | None, tally: Tally, trace: list[str]
) -> None:
    if not tally.violations:
        return
    for line in trace[-TRACED:]:
        print(f"  {line[:200]}")
    for kind in ViolationKind:
        of_kind = [found for found in tally.violations if found.kind is kind]
        for found in of_kind[:SHOWN]:
            print(f"VIOLATION {kind.value} ({len(of_kind)}): {found.about[:400]}")
    print(
        f"repeat: python -m tests.simulation --seed {seed} --schedules {size.schedules}"
        f" --world {size.slots} --slots 1{f' --plant {planted}' if planted else ''}",
        flush=True,
    )


async def _make_template(server: str, template: str, plant: Plant) -> None:
    await _execute(server, f"CREATE DATABASE {TEMPLATE}")
    connection = await asyncpg.connect(template)
    try:
        await migrate(connection)
        await connection.execute(SHADOW + plant.schema)
    finally:
        await connection.close()


async def _execute(server: str, statement: str) -> None:
    connection = await asyncpg.connect(server)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except FailedJobError as error:
        sys.exit(str(error))

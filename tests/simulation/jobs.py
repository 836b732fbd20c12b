"""Worlds simulated in several processes at once, their results added up."""

import subprocess
import sys
import time
from collections import Counter
from typing import Any

import msgspec

from devstack.embedded import private_directory
from tests.simulation.machine import WorldSize
from tests.simulation.violations import ViolationKind
from tests.support.sources import ROOT

SEEDS_OF_A_JOB = 1_000


def run_in_processes(
    jobs: int, seed: int, slots: int, size: WorldSize, planted: str | None
) -> dict[str, Any]:
    """Run worlds in so many processes, whose seeds are ``SEEDS_OF_A_JOB`` apart; add them up."""
    words = f"--slots {-(-slots // jobs)} --schedules {size.schedules} --world {size.slots}"
    words += f" --seconds {size.seconds}" + (f" --plant {planted}" if planted else "")
    began = time.monotonic()
    with private_directory() as directory:
        files = [directory / f"{job}.json" for job in range(jobs)]
        processes = []
        for job, file in enumerate(files):
            own = ["--seed", str(seed + job * SEEDS_OF_A_JOB), "--json", str(file)]
            command = [sys.executable, "-m", "tests.simulation", *words.split(), *own]
            processes.append(subprocess.Popen(command, cwd=ROOT))
        for process in processes:
            process.wait()
        documents = [msgspec.json.decode(file.read_bytes()) for file in files]
    total: dict[str, Any] = documents[0]
    for other in documents[1:]:
        for name in ("worlds", "slots", "fired", "processor_seconds", "digests"):
            total[name] += other[name]
        for name in ("counts", "violations"):
            total[name] = Counter(total[name]) + Counter(other[name])
    total["counts"] = dict(sorted(total["counts"].items()))
    total["violations"] = {
        kind.value: total["violations"].get(kind.value, 0) for kind in ViolationKind
    }
    return {**total, "jobs": jobs, "seconds": round(time.monotonic() - began)}

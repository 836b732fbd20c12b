"""Worlds simulated in several processes at once, their results added up."""

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from devstack.embedded import private_directory
from tests.simulation.machine import WorldSize
from tests.simulation.violations import ViolationKind
from tests.support.sources import ROOT

SEEDS_OF_A_JOB = 1_000


class FailedJobError(Exception):
    """Simulations that ended before their result; ``str()`` has a line for each."""


def start(words: str, file: Path) -> subprocess.Popen[bytes]:
    """Start a simulation with these options, which leaves its result in a file."""
    command = [sys.executable, "-m", "tests.simulation", *words.split(), "--json", str(file)]
    return subprocess.Popen(command, cwd=ROOT)


def results(
    words: Sequence[str], statuses: Sequence[int], files: Sequence[Path]
) -> list[dict[str, Any]]:
    """Return the results of simulations that ended with these statuses.

    Raises FailedJobError where one left none, or only that of the worlds before it failed: a
    status other than 0 without a violation.
    """
    found: list[dict[str, Any]] = []
    failed = []
    for each, status, file in zip(words, statuses, files, strict=True):
        document = msgspec.json.decode(file.read_bytes()) if file.exists() else None
        if document is not None and (not status or any(document["violations"].values())):
            found.append(document)
        else:
            left = "a result of its first worlds alone" if document else "no result"
            ended = f"ended with status {status} and left {left}"
            failed.append(f"A simulation {ended}: python -m tests.simulation {each}")
    if failed:
        raise FailedJobError("\n".join(failed))
    return found


def run_in_processes(
    jobs: int, seed: int, slots: int, size: WorldSize, planted: str | None
) -> dict[str, Any]:
    """Run worlds in that many processes, whose seeds are ``SEEDS_OF_A_JOB`` apart; add them up.

    Raises FailedJobError, after all have ended, where any of them failed.
    """
    words = f"--slots {-(-slots // jobs)} --schedules {size.schedules} --world {size.slots}"
    words += f" --seconds {size.seconds}" + (f" --plant {planted}" if planted else "")
    began = time.monotonic()
    with private_directory() as directory:
        files = [directory / f"{job}.json" for job in range(jobs)]
        own = [f"--seed {seed + job * SEEDS_OF_A_JOB} {words}" for job in range(jobs)]
        processes = [start(each, file) for each, file in zip(own, files, strict=True)]
        for process in processes:
            process.wait()
        documents = results(own, [process.returncode for process in processes], files)
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

"""Checks the models with spin: no error in what is built, an error in each mutation.

``python -m model.check`` is ``make model``; ``--large`` has more faults and takes longer. The
results go to ``--json``; ``--write`` keeps them in ``results.json``, beside those of the runs that
were not repeated, and puts them into ``docs/model.md`` too. Each names the commit that it is of.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from msgspec import Struct, structs

from tests.support.tested_commit import tested_commit

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
PAGE = HERE.parent / "docs" / "model.md"
BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"
NO_COMMIT = "—"
"""Stands for the commit of results from before it was kept."""
MEMORY_MB = 6000
DEPTH = 2_000_000


class ModelRun(Struct, frozen=True):
    """One run of the checker. ``liveness`` checks the LTL property under weak fairness.

    ``finds`` tells whether an error is expected; ``hashed`` explores by hash, not exhaustively.
    """

    name: str
    model: str
    defines: dict[str, int]
    liveness: bool = False
    finds: bool = False
    hashed: bool = False


class Result(Struct, frozen=True):
    """What a run found; ``complete`` where all reachable states were explored."""

    case: ModelRun
    error: bool
    complete: bool
    states: int
    depth: int
    memory_mb: float
    seconds: float

    @property
    def expected(self) -> bool:
        """Return whether the run ended as it should."""
        return self.error == self.case.finds and (self.error or self.complete or self.case.hashed)


def attempts(kills: int, freezes: int, outages: int, changes: int, **more: int) -> dict[str, int]:
    """Return the settings of ``attempts.pml``."""
    budget = {"KILLS": kills, "FREEZES": freezes, "OUTAGES": outages, "CHANGES": changes}
    return {**budget, **more}


def planning(schedules: int, crashes: int, changes: int, back: int, **more: int) -> dict[str, int]:
    """Return the settings of ``planning.pml``."""
    budget = {"SCHEDULES": schedules, "CRASHES": crashes, "CHANGES": changes, "STEPS_BACK": back}
    return {**budget, **more}


P, A = "planning", "attempts"
BASE = [
    ModelRun("planning: safety", P, planning(1, 1, 1, 1)),
    ModelRun("planning: every slot accounted for", P, planning(1, 1, 0, 1), liveness=True),
    ModelRun("attempts: killed", A, attempts(1, 0, 0, 0)),
    ModelRun("attempts: frozen", A, attempts(0, 1, 0, 0)),
    ModelRun("attempts: database lost, changed", A, attempts(0, 0, 1, 1)),
]


def mutation(
    name: str, model: str, defines: dict[str, int], flag: str, *, liveness: bool = False
) -> ModelRun:
    """Return the case of a mutation, which must be found."""
    return ModelRun(name, model, {**defines, flag: 1}, liveness=liveness, finds=True)


MUTATIONS = [
    mutation("no unique key", P, planning(1, 1, 1, 1), "M_NO_UNIQUE_KEY"),
    mutation(
        "timer moved without its run", P, planning(1, 0, 0, 0), "M_ADVANCE_FIRST", liveness=True
    ),
    mutation("results without the fence", A, attempts(1, 1, 0, 1), "M_NO_FENCE"),
    mutation("claim without the lease", A, attempts(1, 1, 0, 1), "M_NO_LEASE"),
    mutation("claim without checking the fence", A, attempts(1, 1, 0, 1), "M_CLAIM_UNCHECKED"),
    mutation("no look at the active run", A, attempts(0, 0, 0, 0), "M_NO_OVERLAP_CHECK"),
    mutation("call although paused or deleted", A, attempts(0, 0, 0, 1), "M_CALL_WHEN_PAUSED"),
    mutation("schedule read before the claim", A, attempts(0, 0, 0, 1), "M_EARLY_LOOK"),
    mutation(
        "planned and claimed over an active run", A, attempts(0, 0, 0, 0), "M_PLAN_OVER_ACTIVE"
    ),
    mutation("schedule read before it is planned", A, attempts(0, 0, 0, 1), "M_PLAN_EARLY_LOOK"),
    mutation("attempts without a limit", A, attempts(1, 0, 0, 0), "M_NO_LIMIT"),
    mutation("no takeover", A, attempts(1, 0, 0, 0), "M_NO_TAKEOVER", liveness=True),
    # Nothing else in the model leaves a run without a job.
    mutation(
        "no repair of runs without a job",
        A,
        attempts(0, 0, 1, 0, M_FORGOTTEN_RETRY=1),
        "M_NO_REPAIR",
        liveness=True,
    ),
]
LARGE = [
    ModelRun("attempts: every run ends, database lost", A, attempts(0, 0, 1, 0), liveness=True),
    ModelRun("attempts: killed, changed", A, attempts(1, 0, 0, 1)),
    ModelRun("attempts: frozen, changed", A, attempts(0, 1, 0, 1)),
    ModelRun("attempts: every run ends, killed", A, attempts(1, 0, 0, 0), liveness=True),
    ModelRun("attempts: every run ends, frozen", A, attempts(0, 1, 0, 0), liveness=True),
    ModelRun("planning: two changes, two crashes", P, planning(1, 2, 2, 1), hashed=True),
    ModelRun("planning: two schedules", P, planning(2, 1, 1, 1), hashed=True),
    ModelRun("attempts: all faults together", A, attempts(1, 1, 1, 1), hashed=True),
    ModelRun("attempts: two schedules", A, attempts(1, 1, 1, 1, SCHEDULES=2), hashed=True),
]

ALL = (*BASE, *MUTATIONS, *LARGE)


def spin_program() -> str | None:
    """Return the path of spin, installing it with apt where it is missing and that is possible."""
    if shutil.which("spin") is None and shutil.which("apt-get") and os.geteuid() == 0:
        for words in (["update"], ["install", "-y", "spin", "gcc"]):
            subprocess.run(["apt-get", "-qq", *words], check=False, capture_output=True)
    return shutil.which("spin") if shutil.which("gcc") else None


def run(case: ModelRun, spin: str, limit_s: float) -> Result:
    """Generate, compile and run the checker of a case. Raises CalledProcessError."""
    with tempfile.TemporaryDirectory() as directory:
        defines = [f"-D{name}={value}" for name, value in case.defines.items()]
        source = str(HERE / f"{case.model}.pml")
        subprocess.run(
            [spin, *defines, "-a", source], cwd=directory, check=True, capture_output=True
        )
        flags = ["-O3", "-DVECTORSZ=2048", f"-DMEMLIM={MEMORY_MB}"]
        flags += ["-DNFAIR=3"] if case.liveness else ["-DSAFETY", "-DNOCLAIM"]
        flags += ["-DBITSTATE"] if case.hashed else ["-DCOLLAPSE"]
        subprocess.run(["gcc", *flags, "-w", "-o", "pan", "pan.c"], cwd=directory, check=True)
        options = ["-a", "-f"] if case.liveness else ["-E"]
        options += ["-w32", "-k2"] if case.hashed else []
        begin = time.monotonic()
        found = subprocess.run(
            ["timeout", "-s", "INT", f"{limit_s:.0f}", "./pan", "-n", f"-m{DEPTH}", *options],
            cwd=directory,
            check=False,
            capture_output=True,
            text=True,
        )
        return read(case, found.stdout, time.monotonic() - begin)


def read(case: ModelRun, output: str, seconds: float) -> Result:
    """Read what pan printed."""
    partial = "Interrupted" in output or "Search not completed" in output
    partial = partial or "max search depth too small" in output
    return Result(
        case=case,
        error=_number(r"errors:\s+(\d+)", output) > 0,
        complete="errors:" in output and not partial,
        states=int(_number(r"([\d.e+]+) states, stored", output)),
        depth=int(_number(r"depth reached (\d+)", output)),
        memory_mb=round(_number(r"([\d.]+)\s+total actual memory", output), 1),
        seconds=round(seconds, 1),
    )


def _number(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    return float(found[1]) if found else 0.0


def table(results: list[dict[str, Any]]) -> str:
    """Return results, as read from JSON, as a Markdown table."""
    lines = [
        "| run | settings | kind | found | explored | states | depth | MB | s | commit |",
        "|---|---|---|---|---|--:|--:|--:|--:|---|",
    ]
    for each in results:
        case = each["case"]
        settings = " ".join(f"{name}={value}" for name, value in case["defines"].items())
        kind = "liveness" if case["liveness"] else "safety"
        explored = "to the error" if each["error"] else "all" if each["complete"] else "in part"
        if case["hashed"] and not each["error"]:
            explored += ", by hash"
        lines.append(
            f"| {case['name']} | `{settings}` | {kind} | {'error' if each['error'] else 'no error'}"
            f" | {explored} | {each['states']:,} | {each['depth']:,} | {each['memory_mb']:,.0f}"
            f" | {each['seconds']:.1f} | {commit_of(each)} |"
        )
    return "\n".join(lines)


def commit_of(result: dict[str, Any]) -> str:
    """Return the commit that a result is of, as it is shown."""
    return f"`{result['commit']}`" if result.get("commit") else NO_COMMIT


def with_earlier(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return these results with the earlier ones of the runs that are not among them."""
    earlier = {each["case"]["name"]: each for each in json.loads(RESULTS.read_text())}
    known = {**earlier, **{each["case"]["name"]: each for each in results}}
    return [known[case.name] for case in ALL if case.name in known]


def written(page: str, results: list[dict[str, Any]]) -> str:
    """Return the page with the table of these results."""
    head, rest = page.split(BEGIN)
    return f"{head}{BEGIN}\n{table(results)}\n{END}{rest.split(END)[1]}"


def reported(result: Result) -> Result:
    """Print a line about a result and return it."""
    verdict = "as expected" if result.expected else "NOT AS EXPECTED"
    print(
        f"{result.case.name:42} {verdict:16} {'error' if result.error else 'no error':8}"
        f" {result.states:>11,} states  depth {result.depth:>7,}"
        f"  {result.memory_mb:>7,.0f} MB {result.seconds:>6.1f} s",
        flush=True,
    )
    return result


def keep(results: list[Result], commit: str, arguments: argparse.Namespace) -> None:
    """Write the results so far, where the arguments say so."""
    plain = [
        {**structs.asdict(each), "case": structs.asdict(each.case), "commit": commit}
        for each in results
    ]
    if arguments.json:
        arguments.json.write_text(json.dumps(plain, indent=1) + "\n")
    if arguments.write:
        kept = with_earlier(plain)
        RESULTS.write_text(json.dumps(kept, indent=1) + "\n")
        PAGE.write_text(written(PAGE.read_text(), kept))


def main() -> int:
    """Run the cases and print one line for each; 1 if one did not end as it should."""
    parser = argparse.ArgumentParser(prog="python -m model.check", description=__doc__)
    parser.add_argument("--large", action="store_true", help="more faults and changes as well")
    parser.add_argument("--json", type=Path, help="where to write the results")
    parser.add_argument("--write", action="store_true", help="keep them in docs/model.md")
    parser.add_argument("--limit", type=float, default=60, help="seconds for each run")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        choices=[case.name for case in ALL],
        metavar="RUN",
        help="no other run than this one of the table (may be repeated)",
    )
    arguments = parser.parse_args()
    spin = spin_program()
    if spin is None:
        print("model: spin and gcc are needed (Debian: apt-get install spin gcc)", file=sys.stderr)
        return 1
    commit = tested_commit()
    cases = [*BASE, *MUTATIONS, *(LARGE if arguments.large else [])]
    if arguments.only:
        cases = [case for case in ALL if case.name in arguments.only]
    results = []
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        ending = [pool.submit(run, case, spin, arguments.limit) for case in cases]
        for ended in as_completed(ending):
            results.append(reported(ended.result()))
            keep(results, commit, arguments)  # what is found is not lost with the rest
    return 0 if all(each.expected for each in results) else 1


if __name__ == "__main__":
    sys.exit(main())

"""``make drill``: inject faults for some minutes, then compare what happened with what had to.

Three workers and two responders are killed, frozen and cut off from PostgreSQL and NATS, which are
killed, frozen and restarted, while thousands of schedules fire and are changed. Prints the counts
of each fault, expected outcome and violation, and heal times; the exit status is 1 on any
violation. ``--plant`` puts a fault into the workers that the checker has to find.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from statistics import median

import msgspec

from devstack.embedded.postgres import BINARIES_VARIABLE
from tests.drill.checker import check
from tests.drill.drill import Options, run
from tests.drill.fault_injection import KINDS
from tests.drill.healing import healing, lines
from tests.drill.history import History
from tests.drill.planted_faults import PlantedFault
from tests.drill.previous_release import install, latest_tag
from tests.drill.results import CheckResults, Expected, Violation
from tests.support.planted_results import PLANTED_RESULTS, keep_planted
from tests.support.tested_commit import tested_commit

SHOWN = 5
"""Particulars shown of each violation."""


def main() -> int:
    """Run, or judge again what an earlier drill kept; return the exit status."""
    defaults = Options()
    options = argparse.ArgumentParser(prog="make drill", description=__doc__)
    options.add_argument("--seed", type=int, default=int(time.time()) % 100_000)
    options.add_argument("--minutes", type=float, default=defaults.faults_for_s / 60)
    options.add_argument("--gap", type=float, default=defaults.gap_s, help="seconds between faults")
    options.add_argument("--schedules", type=int, default=defaults.schedules)
    options.add_argument("--faults", type=int, default=0, help="go on until there were so many")
    options.add_argument(
        "--only",
        action="append",
        default=[],
        choices=[kind.name for kind in KINDS],
        metavar="KIND",
        help="inject no other kind of fault (may be repeated)",
    )
    options.add_argument(
        "--plant", type=PlantedFault, choices=list(PlantedFault), help="a fault to be found"
    )
    options.add_argument(
        "--proof", action="store_true", help=f"keep in {PLANTED_RESULTS.name} what --plant found"
    )
    options.add_argument("--slow", action="store_true", help="a slow Runner, so that runs wait")
    options.add_argument("--keep", type=Path, help="file to keep the history in, as JSON")
    options.add_argument("--json", type=Path, help="file for the counts and heal times, as JSON")
    options.add_argument(
        "--postgres", choices=["15"], help="release to test instead of the wheel's"
    )
    options.add_argument(
        "--previous",
        nargs="?",
        const="",
        metavar="COMMIT",
        help="upgrade from this commit's program, or the latest tag's",
    )
    options.add_argument("--judge", type=Path, help="judge a history that was kept; run nothing")
    chosen = options.parse_args()
    if chosen.postgres is not None:
        os.environ[BINARIES_VARIABLE] = f"/usr/lib/postgresql/{chosen.postgres}/bin"
    if chosen.judge is not None:
        found = msgspec.json.decode(chosen.judge.read_bytes(), type=History)
    else:
        say(f"seed {chosen.seed}")
        previous = latest_tag() if chosen.previous == "" else chosen.previous
        if chosen.previous == "" and previous is None:
            options.error("there is no tag yet: name a commit after --previous")
        found = asyncio.run(
            run(
                Options(
                    seed=chosen.seed,
                    schedules=chosen.schedules,
                    faults_for_s=chosen.minutes * 60,
                    gap_s=chosen.gap,
                    slow=chosen.slow,
                    least_faults=chosen.faults,
                    only=tuple(chosen.only),
                    previous=None if previous is None else install(previous),
                    planted_fault=chosen.plant,
                ),
                say,
            )
        )
    if chosen.keep is not None:
        chosen.keep.write_bytes(msgspec.json.encode(found))
    results = check(found)
    report(found, results)
    if chosen.json is not None:
        chosen.json.write_bytes(summary(chosen, found, results))
    if chosen.proof and chosen.plant is not None:
        keep_planted("drill", chosen.plant.value, planted(chosen, found, results))
    return 1 if results.violations else 0


def summary(chosen: argparse.Namespace, history: History, results: CheckResults) -> bytes:
    """Return the figures of a drill as JSON, with all that it takes to repeat it."""
    document = {
        "commit": _of_git("rev-parse", "HEAD"),
        "changed_since": bool(_of_git("status", "--porcelain", "--untracked-files=no")),
        "seed": chosen.seed,
        "minutes": chosen.minutes,
        "gap_s": chosen.gap,
        "schedules": chosen.schedules,
        "postgres": chosen.postgres or "18",
        "previous": chosen.previous,
        "only": chosen.only,
        "seconds": round(history.stopped - history.began),
        "processors": os.cpu_count(),
        "load": round(median(history.loads), 1) if history.loads else None,
        "faults": Counter(fault.kind for fault in history.faults),
        "changes": len(history.changes),
        "expected": {each.value: results.expected[each] for each in Expected},
        "violations": {each.value: results.of(each) for each in Violation},
        "healing": healing(history),
        "not_injected": history.not_injected,
    }
    return msgspec.json.format(msgspec.json.encode(document))


def planted(
    chosen: argparse.Namespace, history: History, results: CheckResults
) -> dict[str, object]:
    """Return what was found of a planted fault, with all that it takes to repeat it."""
    return {
        "found": [each.value for each in Violation if results.of(each)],
        "seed": chosen.seed,
        "commit": tested_commit(),
        "minutes": chosen.minutes,
        "gap_s": chosen.gap,
        "schedules": chosen.schedules,
        "slow": chosen.slow,
        "seconds": round(history.stopped - history.began),
        "faults": len(history.faults),
    }


def _of_git(*arguments: str) -> str:
    completed = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    return completed.stdout.strip()


def report(history: History, results: CheckResults) -> None:
    """Print the tables."""
    faults = Counter(fault.kind for fault in history.faults)
    count = len(history.faults)
    seconds = history.stopped - history.began
    say(f"\n{count} faults in {seconds:.0f} s, {len(history.changes):,} changes")
    for kind, number in sorted(faults.items()):
        say(f"  {number:8,}  {kind}")
    for left_out in history.not_injected:
        say(f"  not injected: {left_out}")
    for line in lines(healing(history)):
        say(line)
    say("expected")
    for expected in Expected:
        say(f"  {results.expected[expected]:8,}  {expected.value}")
    say("violations")
    for violation in Violation:
        say(f"  {results.of(violation):8,}  {violation.value}")
    for violation in Violation:
        for finding in [each for each in results.violations if each.violation is violation][:SHOWN]:
            say(f"{violation.value}: {finding.about}")
    say("the drill FAILED" if results.violations else "the drill passed: no violations")


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())

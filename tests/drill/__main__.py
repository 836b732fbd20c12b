"""``make drill``: inject faults for some minutes, then compare what happened with what had to.

Three workers and two responders are killed, frozen and cut off from PostgreSQL and NATS, which are
killed, frozen and restarted, while thousands of schedules fire and are changed. Prints the counts
of each fault, expected outcome and violation, and heal times; the exit status is 1 on any
violation. ``--plant`` puts a fault into the workers that the checker has to find.
"""

import argparse
import asyncio
import os
import sys
from pathlib import Path

import msgspec
from msgspec import structs

from devstack.embedded.postgres import BINARIES_VARIABLE
from tests.drill.arguments import parse_arguments
from tests.drill.checker import check
from tests.drill.drill import Options, run
from tests.drill.figures import planted, summary, table
from tests.drill.history import History
from tests.drill.previous_release import install, latest_tag
from tests.support.planted_results import keep_planted


def main() -> int:
    """Run a drill, or take one that was kept; judge it, and return the exit status."""
    chosen = parse_arguments(__doc__)
    history = drilled(chosen) if chosen.judge is None else kept(chosen)
    if chosen.keep is not None:
        chosen.keep.write_bytes(msgspec.json.encode(history))
    results = check(history)
    for line in table(history, results):
        say(line)
    if chosen.json is not None:
        chosen.json.write_bytes(summary(chosen, history, results))
    if chosen.proof and chosen.plant is not None:
        keep_planted("drill", chosen.plant.value, planted(chosen, history, results))
    return 1 if results.violations else 0


def drilled(chosen: argparse.Namespace) -> History:
    """Return what a new drill left behind."""
    if chosen.postgres is not None:
        os.environ[BINARIES_VARIABLE] = f"/usr/lib/postgresql/{chosen.postgres}/bin"
    say(f"seed {chosen.seed}")
    options = Options(
        seed=chosen.seed,
        schedules=chosen.schedules,
        faults_for_s=chosen.minutes * 60,
        gap_s=chosen.gap,
        planned_within_s=chosen.planned_within or Options().planned_within_s,
        slow=chosen.slow,
        least_faults=chosen.faults,
        only=tuple(chosen.only),
        previous=earlier_program(chosen.previous),
        planted_fault=chosen.plant,
    )
    return asyncio.run(run(options, say))


def earlier_program(commit: str | None) -> Path | None:
    """Return the program to upgrade from: that of the latest tag where ``commit`` is empty.

    None where nothing is to be upgraded. Ends the drill where there is no tag.
    """
    if commit is None:
        return None
    earlier = commit or latest_tag()
    if earlier is None:
        sys.exit("there is no tag yet: name a commit after --previous")
    return install(earlier)


def kept(chosen: argparse.Namespace) -> History:
    """Return what an earlier drill left behind, for a machine as busy as chosen, or as then."""
    history = msgspec.json.decode(chosen.judge.read_bytes(), type=History)
    within = chosen.planned_within or history.planned_within
    return structs.replace(history, planned_within=within)


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())

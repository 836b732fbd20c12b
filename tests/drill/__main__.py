"""``make drill``: make trouble for some minutes, then hold what happened against what had to.

Three workers and two responders are killed, frozen and cut off from PostgreSQL and NATS, which are
killed and restarted, while thousands of schedules fire and are changed. Prints the counts of each
fault and each verdict; the exit status is 1 on any bad one. ``--plant`` puts a fault into the
workers that the checker has to find.
"""

import argparse
import asyncio
import sys
import time
from collections import Counter
from pathlib import Path

import msgspec

from tests.drill.checker import check
from tests.drill.drill import Options, run
from tests.drill.history import History
from tests.drill.plants import Plant
from tests.drill.verdicts import Bad, Good, Verdicts

SHOWN = 5
"""Particulars shown of each bad verdict."""


def main() -> int:
    """Run, or judge again what an earlier drill kept; return the exit status."""
    defaults = Options()
    options = argparse.ArgumentParser(prog="make drill", description=__doc__)
    options.add_argument("--seed", type=int, default=int(time.time()) % 100_000)
    options.add_argument("--minutes", type=float, default=defaults.trouble_s / 60)
    options.add_argument("--schedules", type=int, default=defaults.schedules)
    options.add_argument("--plant", type=Plant, choices=list(Plant), help="a fault to be found")
    options.add_argument("--slow", action="store_true", help="a slow Runner, so that runs wait")
    options.add_argument("--keep", type=Path, help="file to keep the history in, as JSON")
    options.add_argument("--judge", type=Path, help="judge a history that was kept; run nothing")
    chosen = options.parse_args()
    if chosen.judge is not None:
        found = msgspec.json.decode(chosen.judge.read_bytes(), type=History)
    else:
        say(f"seed {chosen.seed}")
        found = asyncio.run(
            run(
                Options(
                    seed=chosen.seed,
                    schedules=chosen.schedules,
                    trouble_s=chosen.minutes * 60,
                    slow=chosen.slow,
                    plant=chosen.plant,
                ),
                say,
            )
        )
    if chosen.keep is not None:
        chosen.keep.write_bytes(msgspec.json.encode(found))
    verdicts = check(found)
    report(found, verdicts)
    return 1 if verdicts.bad else 0


def report(history: History, verdicts: Verdicts) -> None:
    """Print the tables."""
    faults = Counter(trouble.kind for trouble in history.troubles)
    count = len(history.troubles)
    seconds = history.stopped - history.began
    say(f"\n{count} faults in {seconds:.0f} s, {len(history.changes):,} changes")
    for kind, number in sorted(faults.items()):
        say(f"  {number:8,}  {kind}")
    say("what may be")
    for good in Good:
        say(f"  {verdicts.good[good]:8,}  {good.value}")
    say("what must not be")
    for bad in Bad:
        say(f"  {verdicts.of(bad):8,}  {bad.value}")
    for bad in Bad:
        for finding in [each for each in verdicts.bad if each.verdict is bad][:SHOWN]:
            say(f"{bad.value}: {finding.about}")
    say("the drill FAILED" if verdicts.bad else "the drill passed: nothing that must not be")


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())

"""``make rehearsal``: cut over from the platform's job runners under load, and back.

Builds the platform's database with rows of pg-boss 10, pg-boss 12 and Temporal and rows without a
job, fires them every minute as those runners do, follows docs/cut-over.md there and back with the
real service, and counts. The exit status is 1 where a slot was fired twice, or lost beyond the
announced pause, or a disabled schedule was fired.
"""

import argparse
import asyncio
import sys

from tests.rehearsal.rehearsal import Options, Result, run

COLUMNS = ("tenant", "slots", "once", "in pause", "twice", "lost", "unasked", "fired by")


def main() -> int:
    """Rehearse, print the table, and return the exit status."""
    defaults = Options()
    options = argparse.ArgumentParser(prog="make rehearsal", description=__doc__)
    options.add_argument("--each", type=int, default=defaults.each, help="schedules of a tenant")
    options.add_argument("--slots", type=int, default=defaults.slots, help="slots of each stage")
    chosen = options.parse_args()
    result = asyncio.run(run(Options(each=chosen.each, slots=chosen.slots), say))
    report(result)
    return 1 if any(counts.violated for counts in result.tenants.values()) else 0


def report(result: Result) -> None:
    """Print the table."""
    lengths = ", ".join(f"{pause.ended - pause.began:.0f} s" for pause in result.pauses)
    say(f"announced pauses: {lengths}; {result.changes} changes of others meanwhile")
    rows: list[tuple[object, ...]] = [COLUMNS]
    for tenant, each in result.tenants.items():
        by = ", ".join(f"{who} {number}" for who, number in sorted(each.by.items()))
        figures = (each.slots, each.once, each.in_pause, each.twice, each.lost, each.unasked)
        rows.append((tenant, *figures, by))
    for row in rows:
        say("".join(f"{cell!s:<10}" for cell in row[:-1]) + str(row[-1]))
    violated = any(counts.violated for counts in result.tenants.values())
    say("the rehearsal FAILED" if violated else "the rehearsal passed: no slot twice, none lost")


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())

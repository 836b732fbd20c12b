"""The figures of a drill: as a table for a person, and as documents for the proof."""

import os
from argparse import Namespace
from collections import Counter
from statistics import median

import msgspec

from tests.drill.healing import healing, lines
from tests.drill.history import History
from tests.drill.results import CheckResults, Expected, Violation
from tests.support.tested_commit import tested_commit

SHOWN = 5
"""Particulars shown of each violation."""


def table(history: History, results: CheckResults) -> list[str]:
    """Return the lines to print: faults, heal times, expected outcomes and violations."""
    faults = Counter(fault.kind for fault in history.faults)
    count, seconds = len(history.faults), history.stopped - history.began
    return [
        f"\n{count} faults in {seconds:.0f} s, {len(history.changes):,} changes",
        *(f"  {number:8,}  {kind}" for kind, number in sorted(faults.items())),
        *(f"  not injected: {left_out}" for left_out in history.not_injected),
        *lines(healing(history)),
        "expected",
        *(f"  {results.expected[each]:8,}  {each.value}" for each in Expected),
        "violations",
        *(f"  {results.of(each):8,}  {each.value}" for each in Violation),
        *(
            f"{each.value}: {finding.about}"
            for each in Violation
            for finding in [one for one in results.violations if one.violation is each][:SHOWN]
        ),
        "the drill FAILED" if results.violations else "the drill passed: no violations",
    ]


def summary(chosen: Namespace, history: History, results: CheckResults) -> bytes:
    """Return the figures of a drill as JSON, with all that it takes to repeat it."""
    document = {
        "commit": history.commit or tested_commit(),
        "seed": chosen.seed,
        "minutes": chosen.minutes,
        "gap_s": chosen.gap,
        "schedules": chosen.schedules,
        "planned_within_s": history.planned_within,
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


def planted(chosen: Namespace, history: History, results: CheckResults) -> dict[str, object]:
    """Return what was found of a planted fault, with all that it takes to repeat it."""
    return {
        "found": [each.value for each in Violation if results.of(each)],
        "seed": chosen.seed,
        "commit": history.commit or tested_commit(),
        "minutes": chosen.minutes,
        "gap_s": chosen.gap,
        "schedules": chosen.schedules,
        "slow": chosen.slow,
        "seconds": round(history.stopped - history.began),
        "faults": len(history.faults),
    }

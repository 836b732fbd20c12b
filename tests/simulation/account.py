"""The account that administrators ask for, beside what the oracle found in the same world.

Until the zone data change, all of it is of one release; so it is asked for then, and at the end.
"""

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

from contracts.times import wire_time
from tests.simulation.simulation import Simulation
from tests.simulation.violations import ViolationKind

LONGEST = timedelta(days=31)
PARTS = ("fired", "missed", "superseded", "waiting", "unaccounted")
CAUSES = ("skipped", "swallowed")
RUNS = """
SELECT count(*) FROM ext_scheduler.runs
WHERE kind = 'scheduled' AND slot > $1::timestamptz AND slot <= $2::timestamptz
"""
UNPLANNED = "schedule_disabled"
"""Swallowed by it are slots that a disabled schedule would have had: the oracle has none."""


async def judge_account(world: Simulation) -> None:
    """Ask for the account since the last one until now; nothing must have work to do."""
    after, until = world.accounted, world.clock.now
    if after >= until:
        return
    counts = Counter[str]()
    begin = after
    while begin < until:
        end = min(begin + LONGEST, until)
        for account in await _accounts(world, begin, end):
            _judge(world, account, counts)
        begin = end
    runs = await world.control.fetchval(RUNS, after, until)
    with_run = counts["fired"] + counts["skipped"]
    if not world.set_back and with_run != runs:
        about = f"{with_run} slots with a run, of {runs}, after {after} until {until}"
        world.tally.found(ViolationKind.ACCOUNT, about)
    slots = counts["slots"] - counts[UNPLANNED]
    decided = world.oracle.fates.total() - world.decided
    if not world.set_back and slots != decided:
        about = f"{slots} slots, not {decided}, after {after} until {until}: {dict(counts)}"
        world.tally.found(ViolationKind.ACCOUNT, about)
    world.accounted, world.decided = until, world.oracle.fates.total()
    for name, count in counts.items():
        world.tally.counts[f"account: {name}"] += count


async def _accounts(world: Simulation, after: datetime, until: datetime) -> list[dict[str, Any]]:
    window = {"from": wire_time(after), "to": wire_time(until)}
    answer = await world.admin("account", limit=200, **window)
    found: list[dict[str, Any]] = answer["schedules"]
    while answer.get("nextCursor") is not None:
        answer = await world.admin("account", limit=200, cursor=answer["nextCursor"])
        found += answer["schedules"]
    return found


def _judge(world: Simulation, account: dict[str, Any], counts: Counter[str]) -> None:
    about = f"{account['cron']} {account['timezone']} {account['scheduleId']}"
    # It sees a day of changes before its window: not what several set-backs put further back.
    if account["unaccounted"] and not world.set_back:
        text = f"{about}: {account['unaccounted']} of {account['slots']}, of them"
        shown = " ".join(account["unaccountedSlots"][:5])
        world.tally.found(ViolationKind.UNACCOUNTED, f"{text} {shown}")
    parts = sum(account[name] for name in PARTS)
    parts += sum(sum(account[name].values()) for name in CAUSES)
    if parts != account["slots"]:
        world.tally.found(ViolationKind.ACCOUNT, f"{about}: parts do not add up: {account}")
    counts["slots"] += account["slots"]
    for name in PARTS:
        counts[name] += account[name]
    counts["skipped"] += sum(account["skipped"].values())
    counts.update(account["swallowed"])

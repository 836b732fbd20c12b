"""The account of a schedule's slots, against a world that is lived through minute by minute.

The world has a planner of its own, in the plainest form, and remembers what it did with each slot.
The account sees only what would be on record.
"""

import random
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec import Struct, structs

from service.rules.accounting import (
    FAR,
    Off,
    RecordedTime,
    SlotCounts,
    SlotRun,
    StateSpan,
    Stretch,
    account,
)
from service.rules.recorded_states import StateChange, StateValues, in_order
from service.rules.recorded_stretches import History, stretches
from tests.support import slot_walk

START = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
MINUTES = 240
AFTER, UNTIL = START + timedelta(minutes=60), START + timedelta(minutes=180)
CRONS = ("*/5 * * * *", "*/7 * * * *", "0,30 * * * *", "17 13 * * *")
CATCHUP = timedelta(minutes=20)
WALKED = slot_walk.moments(ZoneInfo("UTC"), START, START + timedelta(minutes=MINUTES + 60))
SLOTS = {cron: slot_walk.walk(cron, WALKED, START - timedelta(minutes=1)) for cron in CRONS}
EVENTS = (
    "planner stops",
    "planner goes on",
    "pause",
    "resume",
    "switch off",
    "switch on",
    "disable",
    "enable",
    "set cron",
    "delete",
)
SET_BACK = (*EVENTS, "set the clock back", "set the clock back")


def minute(number: float) -> datetime:
    return START + timedelta(minutes=number)


def slots(cron: str, timezone: str, after: datetime, until: datetime) -> list[datetime]:
    assert timezone == "UTC"
    return [slot for slot in SLOTS[cron] if after < slot <= until]


class World(Struct):
    """A schedule's life: what is true now, what is on record, what really became of slots."""

    cron: str = CRONS[0]
    enabled: bool = True
    planning: bool = True
    paused: bool = False
    off: bool = False
    created_at: datetime | None = None
    deleted_at: datetime | None = None
    due: datetime | None = None
    missed: int = 0
    runs: list[SlotRun] = []
    changes: list[StateChange] = []
    settled: int = 0
    """The latest minute that any clock had shown when the last event happened."""

    def create(self, at: datetime) -> None:
        self.created_at, self.due = at, self.following(at)
        self.record(at, StateValues(self.cron, "UTC", True), creates=True)

    def record(self, at: datetime, values: StateValues, creates: bool = False) -> None:
        number = len(self.changes) + 1
        self.changes.append(StateChange(at, values, creates, sequence=number))

    def following(self, at: datetime) -> datetime:
        return next(slot for slot in [*SLOTS[self.cron], FAR] if slot > at)

    def reset(self, at: datetime) -> None:
        self.due, self.missed = (self.following(at) if self.enabled else None), 0

    def happens(self, event: str, at: datetime, cron: str) -> None:
        if self.deleted_at is not None or self.created_at is None:
            return
        if event.startswith("planner"):
            self.planning = event == "planner goes on"
        elif event in {"pause", "resume"}:
            self.paused = event == "pause"
            self.record(at, StateValues(paused=self.paused))
            self.repair(at)
        elif event.startswith("switch"):
            self.off = event == "switch off"
            self.record(at, StateValues(install_off=self.off))
            self.repair(at)
        elif event in {"disable", "enable"}:
            changed = self.enabled != (event == "enable")
            self.enabled = event == "enable"
            self.record(at, StateValues(enabled=self.enabled))
            if changed:
                self.reset(at)
            self.repair(at)
        elif event == "set cron":
            changed = self.cron != cron
            self.cron = cron
            self.record(at, StateValues(cron=cron))
            if changed:
                self.reset(at)
            self.repair(at)
        else:
            self.deleted_at, self.due = at, None

    def repair(self, at: datetime) -> None:
        """Compute a timer again that lies beyond the next slot, as after the clock was set back."""
        if self.due is not None and self.enabled:
            self.due = min(self.due, self.following(at))

    def plan(self, at: datetime, skips: bool) -> None:
        """Do what a planner does with a timer that is due."""
        if self.due is None or self.due > at or not self.planning:
            return
        due = self.due
        self.due = self.following(at)
        if self.paused or self.off:
            return
        passed = [slot for slot in SLOTS[self.cron] if due <= slot <= at]
        fires = at - passed[-1] <= CATCHUP
        missed = self.missed + len(passed) - fires
        self.missed = missed
        if fires and passed[-1] not in {run.slot for run in self.runs}:
            status, reason = ("skipped", "tenant paused") if skips else ("success", None)
            self.runs.append(SlotRun(passed[-1], status, reason, missed))
            self.missed = 0


def lived(seed: int, events: list[tuple[int, str, str]], created: int | None) -> World:
    """Return a world after all these events, each at half past its minute by a true clock."""
    world, chance = World(), random.Random(seed)
    if created is None:
        world.create(START - timedelta(minutes=1))
    number = elapsed = latest = 0
    while number < MINUTES:
        latest = max(latest, number)
        if elapsed == created:
            world.create(minute(number) - timedelta(seconds=20))
        if world.created_at is not None:
            world.plan(minute(number) + timedelta(seconds=1), skips=chance.random() < 0.1)
        for when, event, cron in events:
            if when != elapsed:
                continue
            world.settled = latest
            if event == "set the clock back":
                number = max(number - chance.choice((1, 10, 30, 60, 90)), 0)
            else:
                at = minute(number) + timedelta(seconds=chance.choice((30, 0.4)))
                world.happens(event, at, cron)
        number, elapsed = number + 1, elapsed + 1
        if chance.random() < 0.05 and world.deleted_at is None:
            world.repair(minute(number) - timedelta(seconds=20))
    return world


def recorded(world: World) -> RecordedTime:
    """Return what is on record of the world about (AFTER, UNTIL]."""
    runs = sorted(world.runs, key=lambda run: run.slot)
    within = [run for run in runs if AFTER < run.slot <= UNTIL]
    history = History(
        now=StateValues(world.cron, "UTC", world.enabled, True, world.paused, world.off),
        earlier=StateValues(),
        changes=in_order(world.changes),
        created_at=None if world.deleted_at else world.created_at,
        deleted_at=world.deleted_at,
        first_run=within[0].slot if within else UNTIL,
    )
    return RecordedTime(
        after=AFTER,
        until=UNTIL,
        stretches=stretches(AFTER, history),
        runs=within,
        later_run=next((run for run in runs if run.slot > UNTIL), None),
        timer_due=world.due,
        timer_missed=world.missed,
    )


def lives(events: tuple[str, ...]) -> dict[str, Any]:
    moments = st.integers(0, MINUTES - 1)
    return {
        "seed": st.integers(0, 10_000),
        "events": st.lists(
            st.tuples(moments, st.sampled_from(events), st.sampled_from(CRONS)), max_size=14
        ),
        "created": st.one_of(st.none(), moments),
    }


@settings(max_examples=400, deadline=None)
@given(**lives(SET_BACK))
def test_every_slot_is_accounted_for_also_where_the_clock_was_set_back(
    seed: int, events: list[tuple[int, str, str]], created: int | None
) -> None:
    world = lived(seed, events, created)
    counts = account(recorded(world), slots)
    assert counts.unaccounted == []
    assert counts.accounted == counts.slots
    assert counts.fired + counts.skipped.total() == len(recorded(world).runs)


@settings(max_examples=400, deadline=None)
@given(**lives(EVENTS))
def test_every_slot_of_every_life_is_accounted_for(
    seed: int, events: list[tuple[int, str, str]], created: int | None
) -> None:
    world = lived(seed, events, created)
    if world.created_at is None or (world.deleted_at and world.deleted_at <= AFTER):
        return
    counts = account(recorded(world), slots)
    assert counts.unaccounted == []
    assert counts.accounted == counts.slots
    statuses = Counter(run.status for run in world.runs if AFTER < run.slot <= UNTIL)
    assert counts.fired == statuses["success"]
    assert counts.skipped.total() == statuses["skipped"]


@settings(max_examples=200, deadline=None)
@given(data=st.data(), **lives(SET_BACK))
def test_a_run_that_is_gone_after_all_events_is_missed_however_often_the_clock_was_set_back(
    data: st.DataObject, seed: int, events: list[tuple[int, str, str]], created: int | None
) -> None:
    world = lived(seed, events, created)
    ends = min(UNTIL, max((run.slot for run in world.runs), default=START))
    sure = [run for run in world.runs if max(AFTER, minute(world.settled + 1)) < run.slot < ends]
    assume(sure)
    lost = data.draw(st.sampled_from(sure))
    world.runs.remove(lost)
    assert account(recorded(world), slots).unaccounted == [lost.slot]


@settings(max_examples=200, deadline=None)
@given(st.data(), st.integers(0, 10_000))
def test_a_run_that_is_gone_leaves_one_slot_unaccounted(data: st.DataObject, seed: int) -> None:
    world = lived(seed, [], None)
    within = [run for run in world.runs if AFTER < run.slot <= UNTIL]
    lost = data.draw(st.sampled_from(within))
    world.runs.remove(lost)
    assert account(recorded(world), slots).unaccounted == [lost.slot]


_STOPPED_FROM_82_TO_103 = [(82, "planner stops", ""), (103, "planner goes on", "")]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([], {"fired": 24}),
        ([(70, "disable", "")], {"fired": 2, "swallowed": {"schedule_disabled": 22}}),
        (
            [(70, "pause", ""), (81, "resume", "")],
            {"fired": 22, "swallowed": {"tenant_paused": 2}},
        ),
        ([(70, "switch off", "")], {"fired": 2, "swallowed": {"install_disabled": 22}}),
        ([(71, "planner stops", ""), (92, "planner goes on", "")], {"fired": 21, "missed": 3}),
        (
            [(71, "pause", ""), (82, "resume", ""), *_STOPPED_FROM_82_TO_103],
            {"fired": 19, "swallowed": {"tenant_paused": 2}, "missed": 3},
        ),
        ([(71, "planner stops", ""), (178, "set cron", CRONS[2])], {"fired": 2}),
        ([(70, "delete", "")], {"slots": 2, "fired": 2}),
    ],
)
def test_what_became_of_slots_is_told_apart(
    events: list[tuple[int, str, str]], expected: dict[str, Any]
) -> None:
    steady = structs.replace(lived(0, events, None))
    steady.runs = [structs.replace(run, status="success") for run in steady.runs]
    counts = account(recorded(steady), slots)
    found = {name: getattr(counts, name) for name in expected}
    assert {
        name: dict(value) if isinstance(value, Counter) else value for name, value in found.items()
    } == expected
    assert counts.unaccounted == []


def test_slots_of_another_time_do_not_exist() -> None:
    def absent(events: list[tuple[int, str, str]], created: int | None = None) -> dict[Any, int]:
        return dict(account(recorded(lived(0, events, created)), slots).absent)

    assert absent([], created=100) == {"created": 7}
    assert absent([(120, "delete", "")]) == {"deleted": 12}
    assert absent([(120, "set cron", CRONS[2])]) == {"updated": 2}
    assert absent([(90, "set cron", CRONS[2]), (150, "set cron", CRONS[1])]) == {"updated": 1 + 9}
    assert absent([(150, "delete", "")], created=100) == {"created": 7, "deleted": 6}


def test_an_empty_account_adds_up() -> None:
    assert SlotCounts().accounted == 0


def test_the_parts_of_an_account_all_count() -> None:
    counts = SlotCounts(
        fired=1,
        missed=10,
        skipped=Counter({"overlap": 40, "tenant paused": 60}),
        swallowed=Counter({"tenant_paused": 400, "schedule_disabled": 600}),
        superseded=10_000,
        waiting=100_000,
        unaccounted=[START, AFTER],
    )
    assert counts.accounted == 111_113


HOURLY = "0,30 * * * *"


def of_record(
    states: Sequence[StateSpan] = (),
    paused: Sequence[Off] = (),
    install_off: Sequence[Off] = (),
    **more: Any,
) -> SlotCounts:
    """The account of four slots, at 60, 90, 120 and 150 minutes, by what is on record of them."""
    stretch = Stretch(
        after=minute(59),
        until=FAR,
        states=states or [StateSpan(minute(0), HOURLY, "UTC")],
        paused=paused,
        install_off=install_off,
    )
    window = RecordedTime(after=minute(59), until=minute(151), stretches=[stretch], **more)
    counts = account(window, slots)
    assert counts.accounted == counts.slots
    return counts


def run(number: float, status: str = "success", **more: Any) -> SlotRun:
    return SlotRun(minute(number), status, **more)


END = 999


def again(*times: tuple[float, float, dict[str, Any]], **more: Any) -> SlotCounts:
    """The account of the same slots where the clock came to some of them again."""
    always = {"states": [StateSpan(minute(0), HOURLY, "UTC")]}
    found = [
        Stretch(
            after=minute(after),
            until=FAR if until == END else minute(until),
            **{**always, **values},
        )
        for after, until, values in times
    ]
    window = RecordedTime(after=minute(59), until=minute(151), stretches=found, **more)
    counts = account(window, slots)
    assert counts.accounted == counts.slots == 4
    return counts


PAUSED = {"paused": [Off(minute(0))]}


@pytest.mark.parametrize(
    ("first", "second", "swallowed"),
    [
        (PAUSED, PAUSED, True),
        ({}, PAUSED, False),  # it was to fire the first time
        (PAUSED, {}, False),  # and here the second time
        ({}, {}, False),
    ],
)
def test_a_slot_needs_an_explanation_each_time_that_its_timer_came_to_it(
    first: dict[str, Any], second: dict[str, Any], swallowed: bool
) -> None:
    counts = again((59, 125, first), (61, END, second), runs=[run(60), run(120), run(150)])
    assert (counts.swallowed.total(), len(counts.unaccounted)) == (swallowed, not swallowed)


def test_what_the_clock_came_to_once_needs_one_explanation() -> None:
    counts = again(
        (59, 80, {}), (80, 100, PAUSED), (100, END, {}), runs=[run(60), run(120), run(150)]
    )
    assert counts.swallowed == {"tenant_paused": 1}


def test_a_slot_waits_while_its_timer_is_before_it_whatever_fired_already() -> None:
    runs = [run(60), run(150)]
    assert again((59, END, {}), runs=runs, timer_due=minute(90)).waiting == 2
    assert again((59, END, {}), runs=runs, timer_due=minute(91)).waiting == 1
    assert again((59, END, {}), runs=runs, timer_due=minute(151)).waiting == 0


def test_slots_that_were_counted_before_some_of_them_fired_are_missed() -> None:
    counts = again((59, END, {}), runs=[run(90), run(120), run(150, missed=3)])
    assert (counts.missed, counts.unaccounted) == (1, [])
    counts = again((59, END, {}), runs=[run(120), run(150, missed=1)])
    assert (counts.missed, len(counts.unaccounted)) == (1, 1)


def test_what_was_absent_the_first_time_is_a_slot_where_it_was_one_later() -> None:
    before: dict[str, Any] = {"states": [StateSpan(minute(0), HOURLY, "UTC", absence="created")]}
    counts = again((59, 125, before), (59, END, {}), runs=[run(60), run(90), run(120), run(150)])
    assert dict(counts.absent) == {}
    gone: dict[str, Any] = {"states": [StateSpan(minute(0), HOURLY, "UTC", absence="deleted")]}
    window = RecordedTime(
        after=minute(59),
        until=minute(151),
        stretches=[
            Stretch(after=minute(59), until=minute(125), **before),
            Stretch(after=minute(80), until=FAR, **gone),
        ],
        runs=[run(120)],
    )
    assert dict(account(window, slots).absent) == {"created": 1, "deleted": 2}


def test_a_skip_is_told_by_its_reason_and_an_overlap_by_its_status() -> None:
    counts = of_record(
        runs=[
            run(60, "skipped_overlap"),
            run(90, "skipped", reason="overlap of something else"),
            run(120, "skipped"),
            run(150, "failed"),
        ]
    )
    assert counts.skipped == {"overlap": 1, "overlap of something else": 1, "unknown": 1}
    assert counts.fired == 1


@pytest.mark.parametrize(
    ("since", "until", "swallowed"),
    [
        (60, 120.5, [90, 120]),  # off from the slot before to after the last
        (60, 120, [90]),  # on again at the slot itself: it was to fire
        (149.9, FAR, [90, 120]),  # off before the planner came to the next run's slot
        (150, FAR, []),  # off at that slot: it had come by then
        (60, 90, []),
    ],
)
@pytest.mark.parametrize("cause", ["paused", "install_off"])
def test_a_slot_is_swallowed_by_what_was_off_between_it_and_the_next_run(
    cause: str, since: float, until: float | datetime, swallowed: list[float]
) -> None:
    end = until if isinstance(until, datetime) else minute(until)
    off: dict[str, Any] = {cause: [Off(minute(since), end)]}
    counts = of_record(runs=[run(60), run(150)], **off)
    assert counts.swallowed.total() == len(swallowed)
    assert sorted(counts.unaccounted) == [
        minute(slot) for slot in (90, 120) if slot not in swallowed
    ]


@pytest.mark.parametrize(("changed", "superseded"), [(149, 2), (150, 2), (150.5, 0)])
def test_a_slot_is_superseded_by_a_change_before_the_next_run_only(
    changed: float, superseded: int
) -> None:
    counts = of_record(
        [StateSpan(minute(0), HOURLY, "UTC"), StateSpan(minute(changed), "17 13 * * *", "UTC")],
        runs=[run(60), run(150)],
    )
    assert counts.superseded == superseded
    assert len(counts.unaccounted) == 2 - superseded


def test_a_run_after_the_last_slot_tells_what_was_missed() -> None:
    deleted = StateSpan(minute(130), HOURLY, "UTC", absence="deleted")
    counts = of_record(
        [StateSpan(minute(0), HOURLY, "UTC"), deleted], runs=[run(60), run(150, missed=1)]
    )
    assert (counts.missed, counts.unaccounted, counts.superseded) == (1, [], 1)
    assert (counts.slots, counts.fired, counts.absent.total()) == (4, 2, 0)


@pytest.mark.parametrize(("cron", "timezone"), [(None, "UTC"), (HOURLY, None)])
def test_a_time_whose_expression_is_not_known_has_no_slots(
    cron: str | None, timezone: str | None
) -> None:
    known = StateSpan(minute(100), HOURLY, "UTC")
    counts = of_record([StateSpan(minute(0), cron, timezone), known], runs=[run(120), run(150)])
    assert (counts.slots, counts.fired, dict(counts.absent)) == (2, 2, {})

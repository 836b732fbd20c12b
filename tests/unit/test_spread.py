"""The start of a slot's run, spread over a period: always the same, never past the next slot."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.rules.planning import (
    LATE_AFTER,
    DueDecision,
    PlanningRules,
    SlotCache,
    longest_delay,
    read,
    slot_by,
    slot_of_timer,
    spread,
    start_of,
)
from service.rules.slots import next_slots, slots_between

NIGHTLY = datetime(2026, 3, 2, 2, 0, tzinfo=UTC)
DAY = timedelta(days=1)
CRONS = ["*/5 * * * *", "7 */3 * * *", "30 1 * * *", "0 0 1 * *", "15 9 * * 1-5", "0 0 29 2 *"]
ZONES = ["UTC", "Europe/Berlin", "Australia/Lord_Howe", "America/Havana"]


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


@given(
    schedule_id=st.uuids(),
    cron=st.sampled_from(CRONS),
    zone=st.sampled_from(ZONES),
    minutes=st.integers(0, 500_000),
    over=st.integers(0, 100_000),
)
def test_start_leads_back_to_its_slot_and_is_on_time_before_the_next(
    schedule_id: UUID, cron: str, zone: str, minutes: int, over: int
) -> None:
    pair = read(cron, zone)
    slot, following = next_slots(*pair, NIGHTLY + timedelta(minutes=minutes), 2)
    start = start_of(schedule_id, slot, following, seconds(over))
    assert slot <= start <= slot + seconds(over)
    assert start + LATE_AFTER <= following or start == slot
    assert slot_by(*pair, start) == slot == slot_of_timer(cron, zone, start)
    slots = SlotCache(spread=seconds(over))
    assert slots.start(schedule_id, cron, zone, slot) == start
    assert slots.slot_of(cron, zone, start) == slot
    assert SlotCache().slot_of(cron, zone, start) == slot, "the spread was switched off"
    assert start <= slots.latest_start(cron, zone, slot - seconds(1)) <= following


@given(schedule_id=st.uuids(), cron=st.sampled_from(CRONS[:3]), over=st.integers(0, 7_200))
def test_every_slot_of_two_days_starts_once_and_none_is_missed(
    schedule_id: UUID, cron: str, over: int
) -> None:
    slots, rules = SlotCache(spread=seconds(over)), PlanningRules()
    due_at, fired = slots.start_after(schedule_id, cron, "UTC", NIGHTLY), []
    while due_at < NIGHTLY + 2 * DAY:
        now = due_at + seconds(2)
        found = slots.evaluate_due(cron, "UTC", due_at, now, rules)
        assert (found.catchup, found.missed) == (False, 0)
        assert found.slot is not None
        fired.append(found.slot)
        due_at = slots.start(schedule_id, cron, "UTC", found.following)
    assert fired == list(slots_between(*read(cron, "UTC"), NIGHTLY, fired[-1]))


def test_starts_of_many_are_spread_evenly_over_whole_seconds() -> None:
    starts = [start_of(uuid4(), NIGHTLY, NIGHTLY + DAY, seconds(10)) for _ in range(10_000)]
    counts = Counter(start - NIGHTLY for start in starts)
    assert counts.keys() == {seconds(count) for count in range(10)}
    assert min(counts.values()) > 500


def test_no_start_is_a_whole_minute_but_that_of_the_slot() -> None:
    starts = {start_of(uuid4(), NIGHTLY, NIGHTLY + DAY, seconds(240)) for _ in range(5_000)}
    assert [start for start in starts if start.second == 0] in ([NIGHTLY], [])


def test_a_start_that_would_be_a_whole_minute_is_a_second_earlier() -> None:
    ids = list(map(UUID, map("{:032x}".format, range(2_000))))
    delays = {id_: spread(id_, seconds(240)) // seconds(1) for id_ in ids}
    moved = [id_ for id_, delay in delays.items() if delay and delay % 60 == 0]
    assert moved
    for id_ in moved:
        start = start_of(id_, NIGHTLY, NIGHTLY + DAY, seconds(240))
        assert start - NIGHTLY == seconds(delays[id_] - 1)


def test_a_start_that_is_half_a_minute_late_is_still_before_the_next_slot() -> None:
    assert longest_delay(NIGHTLY, NIGHTLY + seconds(300), seconds(1_000)) == seconds(270)
    assert longest_delay(NIGHTLY, NIGHTLY + seconds(300), seconds(100)) == seconds(100)


def test_the_latest_slot_is_found_however_long_ago_it_was() -> None:
    at = datetime(2104, 2, 28, tzinfo=UTC)
    assert slot_by(*read("0 0 29 2 *", "UTC"), at) == datetime(2096, 2, 29, tzinfo=UTC)
    assert slot_by(*read("0 0 28 2 *", "UTC"), at) == at


def test_a_timer_of_an_invalid_pair_is_taken_for_its_slot() -> None:
    assert slot_of_timer("nonsense", "UTC", NIGHTLY) == NIGHTLY
    assert slot_of_timer("0 2 * * *", "Mars/Olympus", NIGHTLY + seconds(7)) == NIGHTLY + seconds(7)


def test_start_is_the_same_from_day_to_day() -> None:
    id_, slots = uuid4(), SlotCache(spread=seconds(300))
    delays = {
        slots.start(id_, "0 2 * * *", "UTC", NIGHTLY + DAY * day) - NIGHTLY - DAY * day
        for day in range(5)
    }
    assert len(delays) == 1


def test_late_start_is_judged_by_the_start_and_a_further_slot_by_the_slot() -> None:
    slots, rules = SlotCache(spread=seconds(240)), PlanningRules()
    due_at, following = NIGHTLY + seconds(200), NIGHTLY + seconds(300)

    def decision(late: float) -> DueDecision:
        return slots.evaluate_due("*/5 * * * *", "UTC", due_at, due_at + seconds(late), rules)

    assert decision(30) == DueDecision(NIGHTLY, False, 0, following)
    assert decision(31) == DueDecision(NIGHTLY, True, 0, following)
    assert decision(100) == DueDecision(following, True, 1, following + seconds(300))


@pytest.mark.parametrize(("now", "waits"), [(-1, False), (0, True), (99, True), (1_000, False)])
def test_a_timer_waits_from_its_slot_to_its_start(now: float, waits: bool) -> None:
    slots = SlotCache(spread=seconds(600))
    id_ = next(
        id_
        for id_ in map(UUID, map("{:032x}".format, range(1_000)))
        if seconds(100) < slots.start(id_, "0 2 * * *", "UTC", NIGHTLY) - NIGHTLY
    )
    due_at = slots.start(id_, "0 2 * * *", "UTC", NIGHTLY)
    timer = (id_, "0 2 * * *", "UTC", due_at)
    assert slots.is_waiting(*timer, NIGHTLY + seconds(now)) is waits
    assert not SlotCache().is_waiting(*timer, NIGHTLY + seconds(now)), "nothing is spread"
    assert not slots.is_waiting(*timer, due_at), "it has come"


def test_without_a_spread_every_start_is_its_slot() -> None:
    slots = SlotCache()
    assert slots.start(uuid4(), "0 2 * * *", "UTC", NIGHTLY) == NIGHTLY
    assert slots.start_after(uuid4(), "0 2 * * *", "UTC", NIGHTLY) == NIGHTLY + DAY
    assert slots.latest_start("0 2 * * *", "UTC", NIGHTLY) == NIGHTLY + DAY
    assert slots.slot_of("0 2 * * *", "UTC", NIGHTLY) == NIGHTLY
    left = NIGHTLY + seconds(47)
    assert slots.slot_of("0 2 * * *", "UTC", left) == NIGHTLY, "it was switched off since"

"""The rehearsal's judgement finds what it is there to find."""

from uuid import UUID

from tests.rehearsal.judgement import Firing, Pause, judge, slots_between

ONE, OFF = UUID(int=1), UUID(int=2)
SLOTS = [60.0, 120.0, 180.0]


def test_slots_are_the_minutes_from_beginning_to_end() -> None:
    assert slots_between(60.0, 185.0) == SLOTS
    assert slots_between(1.0, 180.0) == SLOTS
    assert slots_between(61.0, 119.0) == []


def test_a_slot_without_a_call_is_lost_but_in_the_pause() -> None:
    fired = [Firing(ONE, 60.0, "service")]
    counts = judge([ONE], [OFF], fired, SLOTS, [Pause(110.0, 130.0)])
    assert (counts.once, counts.in_pause, counts.lost, counts.violated) == (1, 1, 1, True)
    counts = judge([ONE], [OFF], fired, SLOTS, [Pause(110.0, 190.0)])
    assert (counts.in_pause, counts.lost, counts.violated) == (2, 0, False)


def test_a_slot_of_both_is_twice_also_in_the_pause() -> None:
    fired = [Firing(ONE, 60.0, "service"), Firing(ONE, 60.0, "pgboss10")]
    counts = judge([ONE], [OFF], fired, [60.0], [Pause(0.0, 190.0)])
    assert (counts.once, counts.twice, counts.violated) == (0, 1, True)
    assert counts.by == {"service": 1, "pgboss10": 1}


def test_a_disabled_schedule_that_fires_is_a_violation() -> None:
    fired = [Firing(OFF, 60.0, "temporal"), Firing(ONE, 60.0, "service")]
    counts = judge([ONE], [OFF], fired, [60.0], [])
    assert (counts.once, counts.unasked, counts.violated) == (1, 1, True)

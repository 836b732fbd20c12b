"""What a due timer becomes: its run, itself at the next slot, and what a run's refusal leaves."""

from datetime import timedelta

import pytest
from msgspec import structs

from service.rules.planning import PlanningRules, SlotCache, spread
from service.worker.timer_plan import TimerPlan, missing_run, plan_timer
from tests.unit.test_planning import INSTALL, SCHEDULE, at, planned, timer, truth


def test_a_slot_on_time_becomes_a_run_of_the_schedule() -> None:
    found = planned(timer(missed=3), truth(), 1)
    run, after = found.occurrence, found.timer
    assert run is not None
    assert after is not None
    assert (run.install_id, run.schedule_id) == (INSTALL, SCHEDULE)
    assert (run.kind, run.trigger, run.delay) == ("scheduled", "schedule", timedelta(0))
    assert (run.slot, run.next_slot, run.missed) == (at(0), at(300), 3)
    assert (after.due_at, after.missed, found.missed) == (at(300), 3, 0)


def test_a_late_slot_becomes_a_run_that_catches_up_within_its_spread() -> None:
    rules = PlanningRules(catchup_spread=timedelta(seconds=30))
    found = plan_timer(timer(missed=1), truth(), at(1000), rules, SlotCache())
    run = found.occurrence
    assert run is not None
    assert (run.trigger, run.slot, run.next_slot, run.missed) == ("catchup", at(900), at(1200), 4)
    assert run.delay == spread(SCHEDULE, timedelta(seconds=30)) > timedelta(0)
    assert found.missed == 3


@pytest.mark.parametrize("seconds", [0.0, 7.0, 7.5])
def test_a_slot_is_a_whole_minute_whenever_its_timer_was_due(seconds: float) -> None:
    found = planned(timer(due_at=at(seconds)), truth(), 8)
    assert found.occurrence is not None
    assert found.occurrence.slot == at(0)


def test_a_run_that_is_refused_is_missed() -> None:
    found = planned(timer(missed=3), truth(), 1000)
    assert found.timer is not None
    missed = missing_run(found)
    assert missed == TimerPlan(structs.replace(found.timer, missed=7), None, 4)
    assert (found.timer.missed, found.missed) == (6, 3)


def test_without_a_run_or_a_timer_nothing_is_missed() -> None:
    gone = planned(timer(), None)
    disabled = planned(timer(missed=2), truth(fires=False))
    assert missing_run(gone) is gone
    assert missing_run(disabled) is disabled
    assert disabled.timer is not None
    assert disabled.occurrence is None

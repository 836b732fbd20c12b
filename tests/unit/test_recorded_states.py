"""What audit entries say about a schedule, and in which order."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from service.rules.recorded_states import (
    CREATED_WITH,
    StateChange,
    StateValues,
    in_order,
    read_change,
)

AFTER = datetime(2026, 3, 2, 13, 0, tzinfo=UTC)
CRON = "*/5 * * * *"
ID = UUID(int=7)


def test_an_entry_is_read_by_what_it_says_of_the_schedule() -> None:
    def values(of_schedule: bool, changes: dict[str, Any]) -> StateValues | None:
        change = read_change(AFTER, ID, of_schedule, changes)
        return None if change is None else change.values

    assert values(True, {"cron": "0 0 * * *", "name": None}) == StateValues(cron="0 0 * * *")
    assert values(True, {"enabled": [True, False], "failures": 3}) == StateValues(enabled=False)
    assert values(True, {"name": "x"}) is None
    assert values(False, {"disabled": [str(ID)]}) == StateValues(enabled=False)
    assert values(False, {"reenabled": [str(ID)]}) == StateValues(enabled=True)
    assert values(False, {"released": [str(ID)]}) == StateValues(ours=False)
    assert values(False, {"disabled": [str(UUID(int=8))]}) is None
    assert values(False, {"adopted": [str(ID)]}) == StateValues(ours=True)
    assert values(False, {"disabled": 3}) is None
    assert values(True, {"enabled": False}) == StateValues(enabled=False)
    assert values(True, {"enabled": True}) == StateValues(enabled=True)
    assert values(True, {"enabled": []}) is None
    assert values(True, {"enabled": [True, "no"]}) is None
    assert values(True, {"formerJobId": None}) == StateValues(ours=True)


@pytest.mark.parametrize(
    ("of_schedule", "changes", "creates"),
    [
        (True, dict.fromkeys(CREATED_WITH), True),
        (True, dict.fromkeys([*CREATED_WITH, "spread"]), True),
        (True, dict.fromkeys(CREATED_WITH - {"name"}) | {"cron": CRON}, False),
        (False, {"created": [str(ID)]}, True),
        (False, {"adopted": [str(ID)]}, False),
    ],
)
def test_an_entry_that_describes_the_whole_schedule_may_be_its_creation(
    of_schedule: bool, changes: dict[str, Any], creates: bool
) -> None:
    read = read_change(AFTER, ID, of_schedule, changes)
    assert read is not None
    assert (read.creates, read.sequence) == (creates, 0)


@pytest.mark.parametrize(
    ("of_schedule", "changes"), [(True, {"cron": CRON}), (False, {"disabled": [str(ID)]})]
)
def test_an_entry_is_read_with_its_number(of_schedule: bool, changes: dict[str, Any]) -> None:
    read = read_change(AFTER, ID, of_schedule, changes, 42)
    assert read is not None
    assert (read.at, read.sequence) == (AFTER, 42)


def test_numbers_order_changes_and_instants_those_of_before_there_were_numbers() -> None:
    def change(minute: int, sequence: int = 0, creates: bool = False) -> StateChange:
        return StateChange(AFTER + timedelta(minutes=minute), StateValues(), creates, sequence)

    ordered = [
        change(70),
        change(80, creates=True),
        change(80),
        change(90, 7),
        change(60, 8),
        change(60, 9, creates=True),
    ]
    assert in_order(reversed(ordered)) == ordered


@pytest.mark.parametrize(
    ("values", "renews"),
    [
        (StateValues(paused=True), False),
        (StateValues(install_off=True), False),
        (StateValues(), False),
        (StateValues(paused=False), True),
        (StateValues(install_off=False), True),
        (StateValues(enabled=False), True),
        (StateValues(cron=CRON), True),
    ],
)
def test_a_timer_is_computed_again_by_all_but_what_switches_off_what_it_belongs_to(
    values: StateValues, renews: bool
) -> None:
    assert StateChange(AFTER, values).renews_timer is renews

"""The states that a schedule was in, by its row and its audit entries."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from service.rules.accounting import FAR, Off, StateSpan
from service.rules.recorded_states import (
    CREATED_WITH,
    History,
    StateChange,
    StateValues,
    read_change,
    states,
    switches_that_came_last,
    times_off,
)

START = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
AFTER, UNTIL = START + timedelta(minutes=60), START + timedelta(minutes=180)
CRON, OTHER = "*/5 * * * *", "0,30 * * * *"
ID = UUID(int=7)
NOW = StateValues(CRON, "UTC", True, True)


def minute(number: float) -> datetime:
    return START + timedelta(minutes=number)


def history(*changes: StateChange, **more: Any) -> History:
    """A schedule that was made long ago, but for what ``more`` says."""
    values: dict[str, Any] = {
        "now": NOW,
        "earlier": StateValues(),
        "changes": changes,
        "created_at": minute(0),
        "deleted_at": None,
        "first_run": UNTIL,
    }
    return History(**(values | more))


def change(number: float, creates: bool = False, **values: Any) -> StateChange:
    return StateChange(minute(number), StateValues(**values), creates)


def span(
    number: float, cron: str | None = CRON, enabled: bool = True, absence: Any = None
) -> StateSpan:
    return StateSpan(minute(number), cron, "UTC", enabled, absence)


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
    assert read.creates is creates


def test_a_row_of_another_program_begins_with_its_first_run() -> None:
    history = History(
        now=StateValues(CRON, "UTC", True, True),
        earlier=StateValues(),
        changes=(),
        created_at=minute(62),
        deleted_at=None,
        first_run=minute(75),
    )
    assert states(AFTER, history) == [
        StateSpan(AFTER, CRON, "UTC", True, "created"),
        StateSpan(minute(74), CRON, "UTC", True),
    ]


@pytest.mark.parametrize(
    ("created_at", "found"),
    [
        (60, [span(60)]),  # at the very instant: before the window, which is open below
        (62, [span(60, absence="created"), span(62)]),
    ],
)
def test_the_window_tells_whether_a_creation_was_in_it(
    created_at: float, found: list[StateSpan]
) -> None:
    made = history(created_at=minute(created_at), first_run=minute(created_at + 1))
    assert states(AFTER, made) == found


def test_what_came_with_the_creation_is_no_change_of_its_own() -> None:
    made = history(
        change(70, creates=True, cron=OTHER, timezone="UTC", enabled=True),
        change(70, cron=CRON),
        change(80, cron=OTHER),
        now=StateValues(OTHER, "UTC", True, True),
        created_at=minute(70),
    )
    assert states(AFTER, made) == [span(60, absence="created"), span(70), span(80, OTHER)]


@pytest.mark.parametrize(
    ("earlier", "found"),
    [
        (StateValues(), [span(60, absence="created"), span(70)]),
        # Older entries speak of it: what describes all of it then was an update.
        (StateValues(OTHER, "UTC"), [span(60, OTHER), span(70)]),
    ],
)
def test_a_deleted_schedule_was_created_in_the_window_if_nothing_older_speaks_of_it(
    earlier: StateValues, found: list[StateSpan]
) -> None:
    gone = history(
        change(70, creates=True, cron=CRON, timezone="UTC"),
        earlier=earlier,
        created_at=None,
        deleted_at=minute(90),
    )
    assert states(AFTER, gone) == [*found, span(90, absence="deleted")]


@pytest.mark.parametrize(
    ("switched", "before"),
    [(change(70, enabled=False), span(60)), (change(70, enabled=True), span(60, enabled=False))],
)
def test_a_switch_tells_what_was_before_it(switched: StateChange, before: StateSpan) -> None:
    assert switched.values.enabled is not None
    now = StateValues(CRON, "UTC", switched.values.enabled, True)
    assert states(AFTER, history(switched, now=now)) == [
        before,
        span(70, enabled=switched.values.enabled),
    ]


def test_an_older_entry_is_believed_before_the_guess_from_a_switch() -> None:
    said_twice = history(change(70, enabled=True), earlier=StateValues(enabled=True))
    assert states(AFTER, said_twice) == [span(60)]


def test_an_expression_before_its_first_known_change_is_not_known() -> None:
    assert states(AFTER, history(change(70, cron=CRON))) == [span(60, cron=None), span(70)]


def test_a_schedule_has_no_slots_while_another_runner_drives_it() -> None:
    taken = history(change(70, ours=True))
    assert states(AFTER, taken) == [span(60, absence="driven_by_other"), span(70)]
    given_back = history(change(70, ours=False), now=StateValues(CRON, "UTC", True, False))
    assert states(AFTER, given_back) == [span(60), span(70, absence="driven_by_other")]


def test_a_schedule_of_another_runner_that_is_created_or_deleted_is_so_first_of_all() -> None:
    others = StateValues(CRON, "UTC", True, False)
    made = history(now=others, created_at=minute(62), first_run=minute(63))
    assert [state.absence for state in states(AFTER, made)] == ["created", "driven_by_other"]
    gone = history(now=others, created_at=None, deleted_at=minute(90))
    assert [state.absence for state in states(AFTER, gone)] == ["driven_by_other", "deleted"]


@pytest.mark.parametrize(
    ("switches", "off_at_start", "found"),
    [
        ([], False, []),
        ([], True, [Off(AFTER, FAR)]),
        ([(70, True), (80, True), (90, False)], False, [Off(minute(70), minute(90))]),
        ([(70, False), (80, True), (90, False)], False, [Off(minute(80), minute(90))]),
        ([(70, False), (75, False), (80, True)], True, [Off(AFTER, minute(70)), Off(minute(80))]),
    ],
)
def test_times_off_begin_with_the_first_switch_and_end_with_the_next_other_one(
    switches: list[tuple[float, bool]], off_at_start: bool, found: list[Off]
) -> None:
    at = [(minute(number), is_off) for number, is_off in switches]
    assert times_off(at, off_at_start=off_at_start, start=AFTER) == found


def test_a_change_of_a_later_time_that_was_undone_since_is_left_out() -> None:
    """The clock was set back in between: the entry that says what is now came last."""
    undone = history(
        change(70, cron=CRON),
        change(80, cron=OTHER, enabled=False),
        change(90, cron="17 13 * * *"),
        now=StateValues(CRON, "UTC", False, True),
    )
    assert states(AFTER, undone) == [span(60, None), span(70), span(80, enabled=False)]


def test_what_a_deleted_schedule_was_at_last_undoes_nothing() -> None:
    gone = history(
        change(70, cron=CRON), change(80, cron=OTHER), created_at=None, deleted_at=minute(90)
    )
    assert states(AFTER, gone) == [
        span(60, None),
        span(70),
        span(80, OTHER),
        span(90, OTHER, absence="deleted"),
    ]


@pytest.mark.parametrize(
    ("offs", "is_off", "kept"),
    [
        ([], True, 0),
        ([True, False], False, 2),
        ([True, False], True, 1),
        ([True, False, False], True, 1),
        ([False, True, False, True, False], True, 4),
        ([False, True, False, True, True], False, 3),
        ([False, False], True, 2),  # none says what is now: none is known to have come last
    ],
)
def test_switches_after_the_one_that_says_what_is_now_came_before_it(
    offs: list[bool], is_off: bool, kept: int
) -> None:
    switches = [(minute(70 + index), off) for index, off in enumerate(offs)]
    assert switches_that_came_last(switches, is_off) == switches[:kept]

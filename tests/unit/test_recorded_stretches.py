"""What was so of a schedule over time, by its row and its audit entries."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from service.rules.accounting import FAR, Off, StateSpan
from service.rules.recorded_states import StateChange, StateValues
from service.rules.recorded_stretches import History, stretches, times_off

START = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
AFTER, UNTIL = START + timedelta(minutes=60), START + timedelta(minutes=180)
CRON, OTHER = "*/5 * * * *", "0,30 * * * *"
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


def states(after: datetime, history: History) -> list[StateSpan]:
    """The states where the clock was never set back."""
    (stretch,) = stretches(after, history)
    assert (stretch.after, stretch.until) == (after, FAR)
    return list(stretch.states)


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
        ([True, False], False, [(70, 71)]),
        ([True, False], True, [(70, None)]),
        ([True, False, False], True, [(70, None)]),
        ([False, True, False, True, False], True, [(71, 72), (73, None)]),
        ([False, True, False, True, True], False, [(71, 72)]),
        ([False, False], True, []),  # none says what is now: none is known to have come last
    ],
)
@pytest.mark.parametrize("name", ["paused", "install_off"])
def test_switches_after_the_one_that_says_what_is_now_came_before_it(
    name: str, offs: list[bool], is_off: bool, kept: list[tuple[float, float | None]]
) -> None:
    switches = [change(70 + index, **{name: off}) for index, off in enumerate(offs)]
    now: dict[str, Any] = {name: is_off}
    (stretch,) = stretches(AFTER, history(*switches, now=NOW.then(StateValues(**now))))
    found: list[Off] = list(getattr(stretch, name))
    assert found == [Off(minute(a), FAR if b is None else minute(b)) for a, b in kept]


def numbered(*changes: StateChange) -> list[StateChange]:
    return [
        StateChange(each.at, each.values, each.creates, number)
        for number, each in enumerate(changes, start=1)
    ]


def covered(found: list[Any]) -> list[tuple[datetime, datetime]]:
    return [(stretch.after, stretch.until) for stretch in found]


def test_a_change_of_an_earlier_time_than_the_one_before_begins_another_stretch() -> None:
    found = stretches(
        AFTER,
        history(
            *numbered(
                change(65, enabled=False),
                change(95, enabled=True),
                change(80, cron=OTHER),
                change(85, cron=CRON),
                change(70, enabled=False),
            ),
            now=StateValues(CRON, "UTC", False, True),
            earlier=StateValues(CRON),
        ),
    )
    assert covered(found) == [
        (AFTER, minute(95)),
        (minute(80), minute(85)),
        (minute(70), FAR),
    ]
    assert [stretch.states for stretch in found] == [
        [span(60), span(65, enabled=False), span(95)],
        [span(80), span(80, OTHER), span(85)],
        [span(70), span(70, enabled=False)],
    ]


@pytest.mark.parametrize(
    ("second", "begins"),
    [
        ([change(70, paused=True)], 95),  # what has a timer beyond that keeps it
        ([change(70, paused=True), change(80, paused=False)], 80),
        ([change(70, paused=True), change(99, paused=False)], 95),
        ([change(70, install_off=False)], 70),
    ],
)
def test_a_stretch_begins_where_the_timer_was_computed_again_or_where_the_clock_had_been(
    second: list[StateChange], begins: float
) -> None:
    found = stretches(AFTER, history(*numbered(change(95, enabled=True), *second)))
    assert covered(found) == [(AFTER, minute(95)), (minute(begins), FAR)]


def test_the_clock_had_been_where_the_latest_of_all_stretches_ended() -> None:
    changes = numbered(*(change(number, paused=True) for number in (95, 80, 85, 70)))
    found = stretches(AFTER, history(*changes))
    assert covered(found) == [
        (AFTER, minute(95)),
        (minute(95), minute(85)),
        (minute(95), FAR),
    ]
    assert [stretch.paused for stretch in found] == [
        [Off(minute(95), FAR)],
        [Off(minute(80), FAR)],
        [Off(minute(70), FAR)],
    ]


def test_a_switch_of_before_the_clock_was_set_back_lasts() -> None:
    (_, second) = stretches(
        AFTER,
        history(
            *numbered(
                change(90, install_off=True),
                change(70, cron=CRON),
                change(75, install_off=False),
            )
        ),
    )
    assert second.install_off == [Off(minute(70), minute(75))]


def test_what_came_last_by_its_number_is_not_guessed_from_what_is_now() -> None:
    changes = numbered(change(70, cron=OTHER), change(80, cron="17 13 * * *"))
    found = states(AFTER, history(*changes, now=StateValues(OTHER, "UTC", True, True)))
    assert found == [span(60, None), span(70, OTHER), span(80, "17 13 * * *")]


def test_a_schedule_that_changed_after_the_clock_was_set_back_to_before_its_creation() -> None:
    changes = numbered(
        change(90, creates=True, cron=CRON, timezone="UTC", enabled=True),
        change(90, enabled=False),
        change(70, cron=OTHER),
    )
    found = stretches(
        AFTER, history(*changes, now=StateValues(OTHER, "UTC", False, True), created_at=minute(90))
    )
    assert covered(found) == [(AFTER, minute(90)), (minute(70), FAR)]
    assert [stretch.states for stretch in found] == [
        [span(60, enabled=False, absence="created"), span(90, enabled=False)],
        [span(70, enabled=False), span(70, OTHER, enabled=False)],
    ]


def test_a_deletion_comes_last_whatever_its_time() -> None:
    changes = [change(90, enabled=False)]
    found = stretches(AFTER, history(*changes, created_at=None, deleted_at=minute(70)))
    assert covered(found) == [(AFTER, minute(90)), (minute(70), FAR)]
    assert found[1].states[-1].absence == "deleted"


def test_a_pause_is_no_older_entry_about_a_deleted_schedule() -> None:
    gone = history(
        change(70, creates=True, cron=CRON, timezone="UTC"),
        earlier=StateValues(paused=True, install_off=False),
        created_at=None,
        deleted_at=minute(90),
    )
    assert [state.absence for state in states(AFTER, gone)] == ["created", None, "deleted"]

"""The drill's checker passes a sound history, and finds each kind of error planted in it."""

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from tests.drill.check_calls import key_of
from tests.drill.checker import check
from tests.drill.history import (
    DATABASE_CLOCK,
    MIGRATED,
    Call,
    Change,
    Exit,
    Fault,
    History,
    Refusal,
    Row,
    Run,
    Span,
    Stored,
)
from tests.drill.results import Expected, Violation

ZERO = 1_800_000_000.0
"""A full minute; everything else is given in seconds from here."""
KEPT = "00000000-0000-4000-8000-00000000000a"
DELETED = "00000000-0000-4000-8000-00000000000b"
DISABLED = "00000000-0000-4000-8000-00000000000c"
STRANGER = "00000000-0000-4000-8000-00000000000d"
STOPPED = 391.0
ON = Row(cron="* * * * *", timezone="UTC", enabled=True, name="a", payload={})
OFF = replace(ON, enabled=False)

PlantedFault = Callable[[History], History]


def call(schedule_id: str, slot: float, **changes: Any) -> Call:
    made = Call(
        key="",
        schedule_id=schedule_id,
        slot=ZERO + slot,
        attempt=1,
        signed=int(ZERO + slot),
        received=ZERO + slot + 0.2,
        answered=ZERO + slot + 0.3,
        status=200,
    )
    return replace(made, **({"key": key_of(made, "scheduled")} | changes))


def run(schedule_id: str, slot: float, **changes: Any) -> Run:
    made = Run(
        id=call(schedule_id, slot).key,
        schedule_id=schedule_id,
        slot=ZERO + slot,
        kind="scheduled",
        trigger="schedule",
        status="success",
        attempts=1,
        fence=1,
        missed=0,
        queued=ZERO + slot + 0.05,
        started=ZERO + slot + 0.1,
        finished=ZERO + slot + 0.4,
        error=None,
    )
    return replace(made, **changes)


def change(schedule_id: str, at: float, row: Row | None) -> Change:
    return Change(schedule_id=schedule_id, asked=ZERO + at, answered=ZERO + at + 0.2, row=row)


def stored(schedule_id: str, row: Row, revision: int, last: float, due: float | None) -> Stored:
    return Stored(
        schedule_id=schedule_id,
        row=row,
        revision=revision,
        last_run_at=ZERO + last + 0.1,
        last_run_status="success",
        due=due and ZERO + due,
        missed=0,
    )


def sound() -> History:
    """Return a drill of three schedules, one deleted, one disabled; no worker from 170 to 250."""
    fired = [(KEPT, slot) for slot in (60, 120, 300, 360)]
    fired += [(gone, slot) for gone in (DELETED, DISABLED) for slot in (60, 120)]
    late = {"trigger": "catchup", "queued": ZERO + 251, "started": ZERO + 252}
    caught_up = run(KEPT, 240, missed=1, finished=ZERO + 253, **late)
    return History(
        began=ZERO,
        stopped=ZERO + STOPPED,
        planned_within=15.0,
        changes=[
            *(change(each, 1, ON) for each in (KEPT, DELETED, DISABLED)),
            change(DELETED, 140, None),
            change(DISABLED, 140, OFF),
        ],
        refusals=[],
        faults=[Fault("worker killed", ZERO + 170, ZERO + 170)],
        spans=[Span(ZERO, ZERO + 170), Span(ZERO + 250, ZERO + STOPPED)],
        exits=[
            Exit("worker 1", ZERO + 170, "killed", -9, "", False),
            Exit("worker 1", ZERO + STOPPED, "stopped", 0, "", False),
        ],
        calls=[
            *(call(each, slot) for each, slot in fired),
            call(KEPT, 240, received=ZERO + 252.1, answered=ZERO + 252.2, signed=int(ZERO + 252)),
        ],
        runs=[*(run(each, slot) for each, slot in fired), caught_up],
        stored=[stored(KEPT, ON, 1, 360, 420), stored(DISABLED, OFF, 2, 120, None)],
    )


def test_a_sound_history_has_no_bad_verdict() -> None:
    results = check(sound())
    assert results.violations == []
    assert {verdict: count for verdict, count in results.expected.items() if count} == {
        Expected.FIRED: 8,
        Expected.CAUGHT_UP: 1,
        Expected.COUNTED: 1,
        Expected.SUCCEEDED: 9,
        Expected.CALLED: 9,
        Expected.KEPT: 5,
        Expected.STOPPED: 1,
    }


def without_run(schedule_id: str, slot: float) -> PlantedFault:
    def planted_fault(history: History) -> History:
        key = call(schedule_id, slot).key
        return replace(
            history,
            runs=[each for each in history.runs if each.id != key],
            calls=[each for each in history.calls if each.key != key],
        )

    return planted_fault


def with_run(schedule_id: str, slot: float, **changes: Any) -> PlantedFault:
    def planted_fault(history: History) -> History:
        gone = without_run(schedule_id, slot)(history)
        return replace(
            history,
            runs=[*gone.runs, run(schedule_id, slot, **changes)],
            calls=[*gone.calls, call(schedule_id, slot)],
        )

    return planted_fault


def and_run(schedule_id: str, slot: float) -> PlantedFault:
    return lambda history: replace(history, runs=[*history.runs, run(schedule_id, slot)])


def and_call(schedule_id: str, slot: float, **changes: Any) -> PlantedFault:
    return lambda history: replace(
        history, calls=[*history.calls, call(schedule_id, slot, **changes)]
    )


def with_stored(*rows: Stored) -> PlantedFault:
    ids = {row.schedule_id for row in rows}
    return lambda history: replace(
        history, stored=[*(r for r in history.stored if r.schedule_id not in ids), *rows]
    )


def with_exit(
    cause: str, status: int, words: str, at: float = 172.0, *, was_ready: bool = True
) -> PlantedFault:
    ended = Exit("worker 2", ZERO + at, cause, status, words, False, was_ready)
    return lambda history: replace(history, exits=[*history.exits, ended])


def later(seconds: float) -> dict[str, float]:
    return {"received": ZERO + seconds, "answered": ZERO + seconds + 0.1}


KEPT_ROW = stored(KEPT, ON, 1, 360, 420)
CLEAR = "ext-scheduler: the database is gone"
PLANTED: list[tuple[str, Violation, PlantedFault]] = [
    ("a slot is not fired", Violation.MISSING, without_run(KEPT, 120)),
    ("the last slot is not fired", Violation.MISSING, without_run(KEPT, 360)),
    ("nothing is caught up", Violation.MISSING, without_run(KEPT, 240)),
    ("a missed slot is not counted", Violation.MISSING, with_run(KEPT, 240, missed=0)),
    ("too many are counted", Violation.MISCOUNTED, with_run(KEPT, 240, missed=2)),
    ("one is counted where none is missing", Violation.MISCOUNTED, with_run(KEPT, 120, missed=1)),
    ("a slot has two records", Violation.TWICE, and_run(KEPT, 120)),
    ("a run between slots", Violation.NOT_DUE, and_run(KEPT, 130)),
    ("a run for the time before the schedule", Violation.NOT_DUE, and_run(KEPT, 0)),
    ("a run for what was deleted long ago", Violation.NOT_DUE, and_run(DELETED, 300)),
    ("a run for what was disabled long ago", Violation.NOT_DUE, and_run(DISABLED, 300)),
    ("a run of a schedule never created", Violation.NOT_DUE, and_run(STRANGER, 120)),
    ("planned before its slot", Violation.EARLY, with_run(KEPT, 120, queued=ZERO + 119)),
    ("called before its slot", Violation.EARLY, and_call(KEPT, 360, received=ZERO + 359)),
    (
        "a run does not end",
        Violation.UNFINISHED,
        with_run(KEPT, 120, status="running", finished=None),
    ),
    ("success without a call", Violation.UNCALLED, lambda h: replace(h, calls=h.calls[1:])),
    (
        "a failure in peace",
        Violation.NEEDLESS_FAILURE,
        with_run(KEPT, 120, status="error", error="?"),
    ),
    ("skipped though enabled", Violation.NEEDLESS_SKIP, with_run(KEPT, 120, status="skipped")),
    ("no overlap", Violation.NEEDLESS_OVERLAP, with_run(KEPT, 120, status="skipped_overlap")),
    ("a key made up", Violation.FOREIGN_KEY, and_call(KEPT, 120, key=STRANGER)),
    ("the key of another slot", Violation.FOREIGN_KEY, and_call(KEPT, 60, key=call(KEPT, 120).key)),
    ("a call that nothing records", Violation.UNRECORDED, and_call(KEPT, 180)),
    ("a call for a schedule never created", Violation.UNKNOWN, and_call(STRANGER, 120)),
    ("a call after deletion", Violation.DELETED, and_call(DELETED, 120, signed=int(ZERO + 150))),
    ("a call after disabling", Violation.DISABLED, and_call(DISABLED, 120, signed=int(ZERO + 150))),
    ("an attempt made twice", Violation.REPEATED, and_call(KEPT, 120, **later(175))),
    ("again after a success", Violation.NEEDLESS_CALL, and_call(KEPT, 60, attempt=2, **later(70))),
    ("a fifth attempt", Violation.TOO_OFTEN, and_call(KEPT, 120, attempt=5, **later(175))),
    ("two at once", Violation.AT_ONCE, and_call(KEPT, 60, attempt=2, **later(60.25))),
    ("an unsigned call", Violation.FORGED, and_call(KEPT, 120, signed=None)),
    ("a schedule is gone", Violation.LOST, lambda h: replace(h, stored=h.stored[1:])),
    ("an older state", Violation.LOST, with_stored(replace(KEPT_ROW, row=OFF))),
    ("an update too few", Violation.LOST, with_stored(stored(DISABLED, OFF, 1, 120, None))),
    ("back from the dead", Violation.RESURRECTED, with_stored(stored(DELETED, ON, 1, 120, 420))),
    (
        "a stored schedule never created",
        Violation.RESURRECTED,
        with_stored(stored(STRANGER, ON, 1, 120, 420)),
    ),
    ("no timer", Violation.TIMER, with_stored(replace(KEPT_ROW, due=None))),
    ("a timer though disabled", Violation.TIMER, with_stored(stored(DISABLED, OFF, 2, 120, 420))),
    ("a timer past the next slot", Violation.TIMER, with_stored(replace(KEPT_ROW, due=ZERO + 480))),
    ("a timer between slots", Violation.TIMER, with_stored(replace(KEPT_ROW, due=ZERO + 400))),
    ("a timer that stands still", Violation.TIMER, with_stored(replace(KEPT_ROW, due=ZERO + 300))),
    ("an older run is recorded", Violation.UNTOLD, with_stored(stored(KEPT, ON, 1, 300, 420))),
    ("another outcome", Violation.UNTOLD, with_stored(replace(KEPT_ROW, last_run_status="error"))),
    (
        "a refusal",
        Violation.REFUSED,
        lambda h: replace(h, refusals=[Refusal(ZERO + 9, "INTERNAL")]),
    ),
    (
        "a class for a message",
        Violation.ENDED_BADLY,
        with_exit("itself", 1, f"{CLEAR}: OSError(9)"),
    ),
    ("no word at the end", Violation.ENDED_BADLY, with_exit("itself", 1, "")),
    ("an end in peace", Violation.ENDED_BADLY, with_exit("itself", 1, CLEAR, at=100)),
    ("status 0 by itself", Violation.ENDED_BADLY, with_exit("itself", 0, CLEAR)),
    ("an end in peace to be repeated", Violation.ENDED_BADLY, with_exit("itself", 8, CLEAR, 100)),
    (
        "a start in peace that is in vain",
        Violation.ENDED_BADLY,
        with_exit("itself", 1, CLEAR, at=100, was_ready=False),
    ),
    (
        "a start without a word",
        Violation.ENDED_BADLY,
        with_exit("itself", 8, "", at=100, was_ready=False),
    ),
    ("does not stop well", Violation.ENDED_BADLY, with_exit("stopped", 1, CLEAR)),
]


@pytest.mark.parametrize(
    ("verdict", "planted_fault"),
    [pytest.param(bad, planted_fault, id=name) for name, bad, planted_fault in PLANTED],
)
def test_a_planted_error_is_reported(verdict: Violation, planted_fault: PlantedFault) -> None:
    assert check(planted_fault(sound())).of(verdict) > 0


def test_every_kind_of_error_is_planted() -> None:
    assert {bad for _, bad, _ in PLANTED} == set(Violation)


def test_a_slot_just_before_a_change_may_fire_or_not() -> None:
    near = replace(sound(), changes=[*sound().changes[:4], change(DISABLED, 121, OFF)])
    assert check(near).violations == []
    row = stored(DISABLED, OFF, 2, 60, None)
    assert check(with_stored(row)(without_run(DISABLED, 120)(near))).violations == []


def test_a_change_without_effect_on_slots_excuses_no_violation() -> None:
    renamed = change(KEPT, 121, replace(ON, name="b"))
    history = replace(sound(), changes=[*sound().changes, renamed])
    assert check(without_run(KEPT, 120)(history)).of(Violation.MISSING) == 1


def test_a_process_that_loses_its_server_may_end_with_a_clear_message() -> None:
    results = check(with_exit("itself", 1, CLEAR)(sound()))
    assert (results.violations, results.expected[Expected.ENDED_CLEARLY]) == ([], 1)


def test_a_start_that_finds_nobody_may_be_repeated_at_any_time() -> None:
    results = check(with_exit("itself", 8, CLEAR, at=100, was_ready=False)(sound()))
    assert (results.violations, results.expected[Expected.STARTED_AGAIN]) == ([], 1)


@pytest.mark.parametrize(("migrated", "violations"), [(50, 0), (150, 1)])
def test_the_earlier_release_does_not_start_after_the_migration(
    migrated: int, violations: int
) -> None:
    words = "ext-scheduler: The database has migration 0007, which this release does not know"
    refused = with_exit("itself", 1, words, at=100, was_ready=False)(sound())
    event = Fault(MIGRATED, ZERO + migrated, ZERO + migrated)
    results = check(replace(refused, faults=[*refused.faults, event]))
    assert results.of(Violation.ENDED_BADLY) == violations
    assert results.expected[Expected.REFUSED_TO_START] == 1 - violations


@pytest.mark.parametrize(("recovered", "violations"), [(200, 1), (215, 0)])
def test_a_process_may_lose_its_server_again_until_all_have_come_back(
    recovered: int, violations: int
) -> None:
    late = with_exit("itself", 1, CLEAR, at=210)(sound())
    results = check(replace(late, recovered=ZERO + recovered))
    assert results.of(Violation.ENDED_BADLY) == violations


@pytest.mark.parametrize(("fence", "violations"), [(1, 1), (2, 0)])
def test_a_run_that_was_claimed_before_its_attempt_may_have_been_overlapped(
    fence: int, violations: int
) -> None:
    late = {"started": ZERO + 190, "finished": ZERO + 190.3, "fence": fence}
    history = with_run(KEPT, 60, **late)(sound())
    skipped = with_run(KEPT, 120, status="skipped_overlap", started=None)(history)
    assert check(skipped).of(Violation.NEEDLESS_OVERLAP) == violations


@pytest.mark.parametrize(("stepped", "violations"), [(100, 1), (180, 0)])
def test_the_times_of_a_run_that_waited_may_be_those_of_a_clock_that_was_wrong_meanwhile(
    stepped: int, violations: int
) -> None:
    waited = {"started": ZERO + 190, "finished": ZERO + 186}
    history = with_run(KEPT, 60, status="skipped_overlap", **waited)(sound())
    other = {"started": ZERO + 188, "finished": ZERO + 184}
    history = with_run(KEPT, 120, **other)(history)
    wrong = Fault(DATABASE_CLOCK, ZERO + stepped, ZERO + stepped + 5)
    history = replace(history, faults=[*history.faults, wrong])
    assert check(history).of(Violation.NEEDLESS_OVERLAP) == violations

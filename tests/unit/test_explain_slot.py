"""What became of a slot: each fate, its boundaries, and which of several is told."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from service.rules.explain_slot import RECORDS_KEPT, explain_slot
from service.rules.explanation import Change, Explanation, ScheduleSituation, SlotSituation, Switch
from tests.support.situations import (
    HOUR,
    MINUTE,
    NOW,
    SECOND,
    SLOT,
    a_run,
    a_schedule,
    a_slot,
    a_timer,
)

BY_ADA = Change(SLOT - HOUR, "ada", "an audit")
OVERLAPPED = (
    "It was skipped, because another run of the schedule was in progress or waited for its retry"
)
AGAIN = Change(SLOT + MINUTE, "bob")


def only(slot: SlotSituation, schedule: ScheduleSituation | None = None) -> Explanation:
    (finding,) = explain_slot(schedule or a_schedule(), slot)
    return finding


@pytest.mark.parametrize(
    ("changed", "code", "text"),
    [
        ({"status": "success"}, "slot_ran", "It ran, and succeeded"),
        (
            {"status": "error", "attempts": 4, "error": "boom"},
            "slot_failed",
            "It ran, and failed after 4 attempts: boom",
        ),
        (
            {"status": "skipped"},
            "slot_skipped",
            "It was skipped: disabled, paused or deleted by then",
        ),
        ({"status": "skipped", "error": "gone"}, "slot_skipped", "It was skipped: gone"),
        (
            {"status": "skipped_overlap"},
            "slot_skipped",
            OVERLAPPED,
        ),
        (
            {"status": "running", "attempts": 2, "worker": "w-1"},
            "slot_in_progress",
            "It is running (attempt 2, worker w-1)",
        ),
        (
            {"status": "queued"},
            "slot_in_progress",
            "It is planned, and waits for a worker or its retry",
        ),
    ],
)
def test_a_run_tells_what_became_of_its_slot(changed: dict[str, Any], code: str, text: str) -> None:
    run = a_run(worker="w-1", **{key: value for key, value in changed.items() if key != "worker"})
    finding = only(a_slot(run=run))
    assert (finding.code, finding.text) == (code, text)
    assert (finding.by, finding.run_id, finding.holds) == ("w-1", run.id, False)


def test_a_run_is_as_old_as_its_latest_step() -> None:
    queued = a_run()
    started = a_run(started_at=SLOT + MINUTE)
    finished = a_run(started_at=SLOT + MINUTE, finished_at=SLOT + 2 * MINUTE)
    since = [only(a_slot(run=run)).since for run in (queued, started, finished)]
    assert since == [SLOT + SECOND, SLOT + MINUTE, SLOT + 2 * MINUTE]


def test_a_run_counts_for_more_than_anything_else() -> None:
    elsewhere = a_slot(
        run=a_run(), at=NOW + HOUR, following=a_run(missed=3), pause=Switch(since=BY_ADA)
    )
    assert only(elsewhere).code == "slot_ran"


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (SLOT + HOUR, "2026-03-02 13:00 UTC is in the future, and is one of its slots"),
        (NOW + MINUTE, "2026-03-02 12:31 UTC is in the future, and is not one of its slots"),
    ],
)
def test_what_is_to_come_is_a_slot_or_none(at: Any, text: str) -> None:
    finding = only(a_slot(at=at))
    assert (finding.code, finding.text) == ("slot_in_future", text)


def test_this_moment_is_not_in_the_future() -> None:
    assert only(a_slot(at=SLOT), a_schedule(now=SLOT)).code == "slot_unaccounted"


def test_what_was_before_the_schedule_is_not_its_slot() -> None:
    young = a_schedule(created_at=SLOT + SECOND)
    finding = only(a_slot(), young)
    assert (finding.code, finding.since) == ("slot_before_schedule", SLOT + SECOND)
    assert "2026-03-02 12:00 UTC is before" in finding.text
    assert only(a_slot(), a_schedule(created_at=SLOT)).code == "slot_unaccounted"


def test_the_slots_around_what_is_none_are_told() -> None:
    finding = only(a_slot(at=SLOT + MINUTE))
    assert finding.code == "slot_not_due"
    assert finding.text == (
        "2026-03-02 12:01 UTC is not one of its slots: the one before was 2026-03-02 12:00 UTC,"
        " the next 2026-03-02 13:00 UTC"
    )


def test_the_slot_before_is_left_out_where_it_is_more_than_a_year_ago() -> None:
    leap = a_slot(at=SLOT, cron="0 0 29 2 *")
    assert only(leap).text == (
        "2026-03-02 12:00 UTC is not one of its slots: the next 2028-02-29 00:00 UTC"
    )
    yearly = a_slot(at=SLOT, cron="0 0 1 2 *")
    assert "the one before was 2026-02-01 00:00 UTC, the next 2027-02-01" in only(yearly).text


def test_the_slot_before_is_told_up_to_four_hundred_days_back() -> None:
    leap_day = SLOT.replace(year=2024, month=2, day=29, hour=0)
    for days, told in ((399.5, True), (400.5, False)):
        slot = a_slot(at=leap_day + timedelta(days=days), cron="0 0 29 2 *")
        finding = only(slot, a_schedule(now=slot.at, created_at=leap_day))
        assert ("the one before was 2024-02-29 00:00 UTC" in finding.text) is told


def test_an_invalid_expression_is_told_of_what_is_no_slot() -> None:
    finding = only(a_slot(cron="0 0 30 2 *"))
    assert finding.code == "slot_not_due"
    assert finding.text.startswith("2026-03-02 12:00 UTC is not one of its slots: ")
    assert "the next" not in finding.text


def test_the_expression_of_that_time_decides() -> None:
    schedule = a_schedule(cron="30 * * * *")
    assert only(a_slot(), schedule).code == "slot_unaccounted"
    assert only(a_slot(at=SLOT - HOUR / 2), schedule).code == "slot_not_due"


def test_a_time_that_the_clock_skipped_is_told_alone_where_nothing_was_due() -> None:
    (skipped,) = explain_slot(a_schedule(), a_slot(at=SLOT + MINUTE, gap="02:30 did not exist"))
    assert (skipped.code, skipped.text) == ("slot_skipped_by_clock", "02:30 did not exist")
    both = explain_slot(a_schedule(), a_slot(gap="02:30 did not exist", run=a_run()))
    assert [each.code for each in both] == ["slot_skipped_by_clock", "slot_ran"]


def test_a_start_that_is_spread_is_in_progress_until_it_is_due() -> None:
    due_at = SLOT + timedelta(minutes=10, seconds=5)
    schedule = a_schedule(now=SLOT + MINUTE, timer=a_timer(due_at=due_at))
    finding = only(a_slot(), schedule)
    assert (finding.code, finding.since) == ("slot_in_progress", SLOT)
    assert "its run starts at 12:10:05 UTC" in finding.text
    at_its_start = a_schedule(now=due_at, timer=a_timer(due_at=due_at))
    assert only(a_slot(), at_its_start).code == "slot_unaccounted"
    assert only(a_slot(at=SLOT - HOUR), schedule).code == "slot_unaccounted"


SWITCHES = (
    ("pause", "slot_during_pause", "the tenant was paused"),
    ("install_off", "slot_during_install_disabled", "the install was disabled"),
    ("schedule_off", "slot_during_schedule_disabled", "the schedule was disabled"),
)


@pytest.mark.parametrize("place", range(3))
def test_the_first_switch_that_was_off_is_told(place: int) -> None:
    name, code, what = SWITCHES[place]
    off = {each: Switch(since=BY_ADA, until=AGAIN) for each, _, _ in SWITCHES[place:]}
    for slot in (a_slot(**off), a_slot(**{name: off[name]})):
        finding = only(slot, a_schedule(timer=a_timer(missed=1)))
        assert (finding.code, finding.since, finding.by) == (code, BY_ADA.at, "ada")
        assert finding.text == (
            f"It did not fire: {what} (an audit), until 2026-03-02 12:01 UTC by bob. Such slots"
            " are not made up"
        )


@pytest.mark.parametrize(
    ("switch", "since"),
    [(Switch(), None), (Switch(since=AGAIN), AGAIN)],
)
def test_of_a_switch_only_what_is_known_is_told(switch: Switch, since: Change | None) -> None:
    finding = only(a_slot(pause=switch))
    assert finding.text == ("It did not fire: the tenant was paused. Such slots are not made up")
    assert (finding.since, finding.by) == ((since.at, since.by) if since else (None, None))


def test_a_missed_slot_is_counted_by_the_run_after_it() -> None:
    following = a_run(slot=SLOT + HOUR, missed=2)
    finding = only(a_slot(following=following), a_schedule(now=SLOT + 2 * HOUR))
    assert (finding.code, finding.run_id) == ("slot_missed", following.id)
    assert "The run of 2026-03-02 13:00 UTC counts it among 2" in finding.text
    assert finding.advice


def test_a_missed_slot_without_a_run_after_it_waits_in_the_timer() -> None:
    schedule = a_schedule(timer=a_timer(missed=1))
    finding = only(a_slot(), schedule)
    assert (finding.code, finding.run_id) == ("slot_missed", None)
    assert "The next run will count it" in finding.text
    assert finding.advice


@pytest.mark.parametrize("timer", [None, a_timer(), a_timer(missed=1)])
def test_a_run_after_it_that_counts_none_does_not_account_for_it(timer: Any) -> None:
    following = a_run(slot=SLOT + HOUR, missed=0)
    finding = only(a_slot(following=following), a_schedule(timer=timer))
    assert finding.code == "slot_unaccounted"
    assert finding.advice


def test_records_are_kept_for_thirty_days() -> None:
    assert timedelta(days=30) == RECORDS_KEPT
    last = a_schedule(now=SLOT + RECORDS_KEPT)
    assert only(a_slot(), last).code == "slot_unaccounted"
    assert only(a_slot(), a_schedule(now=SLOT + RECORDS_KEPT + SECOND)).code == "slot_expired"


@pytest.mark.parametrize(
    ("timer", "code"),
    [
        (a_timer(due_at=SLOT), "slot_in_progress"),
        (a_timer(due_at=SLOT - HOUR), "slot_in_progress"),
        (a_timer(due_at=SLOT + SECOND), "slot_unaccounted"),
        (None, "slot_unaccounted"),
    ],
)
def test_a_slot_that_the_timer_still_has_before_it_is_in_progress(timer: Any, code: str) -> None:
    finding = only(a_slot(), a_schedule(timer=timer))
    assert finding.code == code
    assert finding.advice
    if code == "slot_in_progress":
        assert (finding.text, finding.since) == (
            "It is due, and has not been planned yet",
            timer.due_at,
        )


@pytest.mark.parametrize(
    ("cron", "hour", "code", "told"),
    [
        (
            "30 2 * * *",
            0,
            "slot_ran",
            "this is the first time, the second is 2026-10-25 01:30 UTC; only the first is a slot",
        ),
        (
            "30 2 * * *",
            1,
            "slot_not_due",
            "this is the second time, the first is 2026-10-25 00:30 UTC; only the first is a slot",
        ),
        (
            "30 * * * *",
            1,
            "slot_ran",
            "this is the second time, the first is 2026-10-25 00:30 UTC; both are slots",
        ),
    ],
)
def test_of_a_time_that_the_clock_shows_twice_it_is_told_which(
    cron: str, hour: int, code: str, told: str
) -> None:
    at = datetime(2026, 10, 25, hour, 30, tzinfo=UTC)
    run = a_run() if code == "slot_ran" else None
    finding = only(
        a_slot(at=at, cron=cron, timezone="Europe/Berlin", run=run),
        a_schedule(now=at + HOUR, created_at=at - HOUR),
    )
    assert finding.code == code
    assert finding.text.endswith(
        f". The clock shows 02:30 twice on 2026-10-25 in Europe/Berlin: {told}"
    )


def test_what_is_shown_twice_is_not_told_where_it_is_no_slot_or_no_cron() -> None:
    at = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    schedule = a_schedule(now=at + HOUR, created_at=at - HOUR)
    for cron in ("45 2 * * *", "no cron"):
        told = only(a_slot(at=at, cron=cron, timezone="Europe/Berlin"), schedule)
        assert (told.code, "twice" in told.text) == ("slot_not_due", False)

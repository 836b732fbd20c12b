"""Why a schedule does not fire: each cause alone, what is said of it, and the order of several."""

from datetime import timedelta
from typing import Any

import pytest

from service.rules.explain import NO_RUNNER, PLANNING_DELAY, explain, first_hold
from service.rules.explain_limits import used_limits
from service.rules.explanation import Change, Explanation, FailureCount, UsedLimit
from service.rules.limits import Limits
from tests.support.situations import HOUR, MINUTE, NOW, SECOND, SLOT, a_run, a_schedule, a_timer

OFF = Change(NOW - HOUR, "ada")
FREE = {
    "paused": False,
    "install_exists": True,
    "install_enabled": True,
    "enabled": True,
    "endpoint_valid": True,
    "foreign": False,
    "has_timer": True,
}
HOLDS = (
    ("paused", "tenant_paused"),
    ("install_exists", "install_missing"),
    ("install_enabled", "install_disabled"),
    ("enabled", "schedule_disabled"),
    ("endpoint_valid", "endpoint_missing"),
    ("foreign", "driven_by_other"),
    ("has_timer", "timer_missing"),
)


def only(**changed: Any) -> Explanation:
    """Return what is found of a schedule where that is one thing."""
    (finding,) = explain(a_schedule(**changed))
    return finding


def codes(**changed: Any) -> list[str]:
    return [finding.code for finding in explain(a_schedule(**changed))]


@pytest.mark.parametrize("place", range(len(HOLDS)))
def test_the_first_thing_that_holds_is_named(place: int) -> None:
    several = {name: not FREE[name] for name, _ in HOLDS[place:]}
    assert first_hold(**{**FREE, **several}) == HOLDS[place][1]
    alone = {HOLDS[place][0]: not FREE[HOLDS[place][0]]}
    assert first_hold(**{**FREE, **alone}) == HOLDS[place][1]


def test_nothing_holds_where_all_is_well() -> None:
    assert first_hold(**FREE) is None
    finding = only()
    assert (finding.code, finding.holds) == ("nothing_holds", False)
    assert finding.text == "Nothing holds it: it fires next at 2026-03-02 13:00 UTC"


def test_what_does_not_hold_comes_after_that_nothing_does() -> None:
    findings = explain(a_schedule(has_capability=False))
    assert [(each.code, each.holds) for each in findings] == [
        ("nothing_holds", False),
        ("capability_missing", False),
    ]


@pytest.mark.parametrize(
    ("changed", "code", "text", "change"),
    [
        ({"pause": OFF}, "tenant_paused", "The tenant is paused", OFF),
        (
            {"pause": Change(NOW, None, "an audit")},
            "tenant_paused",
            "The tenant is paused: an audit",
            Change(NOW, None),
        ),
        ({"install_exists": False}, "install_missing", "The install that the schedule", None),
        (
            {"install_enabled": False, "install_off": OFF},
            "install_disabled",
            "The install is disabled",
            OFF,
        ),
        ({"enabled": False, "schedule_off": OFF}, "schedule_disabled", "is disabled", OFF),
        (
            {"endpoint_valid": False},
            "endpoint_missing",
            "The installed version does not declare",
            None,
        ),
        ({"driven_by": "pg-boss"}, "driven_by_other", "drives it (pg-boss)", None),
        ({"cron": "0 0 30 2 *"}, "cron_invalid", "It can never fire: ", None),
        ({"timezone": "Mars/Base"}, "cron_invalid", "It can never fire: ", None),
        ({"timer": None}, "timer_missing", "It has no timer", None),
        (
            {"timer": a_timer(cron="5 * * * *")},
            "timer_differs",
            "made from '5 * * * *' (UTC)",
            None,
        ),
        (
            {"timer": a_timer(timezone="Asia/Tokyo")},
            "timer_differs",
            "made from '0 * * * *' (Asia/Tokyo)",
            None,
        ),
        (
            {"workers_up": 0, "worker_seen": SLOT},
            "no_worker_up",
            "No worker is up: the last was seen 2026-03-02 12:00 UTC",
            Change(SLOT, None),
        ),
        ({"workers_up": 0, "worker_seen": None}, "no_worker_up", "No worker is up", None),
    ],
)
def test_what_holds_it_is_told_alone(
    changed: dict[str, Any], code: str, text: str, change: Change | None
) -> None:
    finding = only(**changed)
    assert (finding.code, finding.holds) == (code, True)
    assert text in finding.text
    assert finding.advice
    assert (finding.since, finding.by) == ((change.at, change.by) if change else (None, None))


def test_a_text_without_a_reason_ends_there() -> None:
    assert only(pause=OFF).text == "The tenant is paused"
    assert only(enabled=False).text == "The schedule is disabled"
    assert only(workers_up=0, worker_seen=None).text == "No worker is up"


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"schedule_off": Change(NOW, "ada", "too loud")}, "The schedule is disabled: too loud"),
        (
            {"schedule_off": Change(NOW, "ada", "too loud"), "last_error": "boom"},
            "The schedule is disabled: too loud",
        ),
        ({"schedule_off": OFF, "last_error": "boom"}, "The schedule is disabled: boom"),
        ({"schedule_off": None, "last_error": "boom"}, "The schedule is disabled: boom"),
    ],
)
def test_a_disabled_schedule_says_why(changed: dict[str, Any], text: str) -> None:
    assert only(enabled=False, **changed).text == text


def test_who_enables_what_its_failures_disabled_is_told_to_mend_them_first() -> None:
    by_hand = only(enabled=False)
    by_failures = only(enabled=False, failures=FailureCount(failures=20, disabled_after=20))
    assert by_hand.advice == "Enable the schedule; it then fires from its next slot on"
    assert by_failures.advice is not None
    assert by_failures.advice.startswith("Mend what fails")


def test_causes_come_in_the_order_in_which_to_look_at_them() -> None:
    everything = {
        "pause": OFF,
        "install_enabled": False,
        "enabled": False,
        "endpoint_valid": False,
        "driven_by": "pg-boss",
    }
    assert codes(**everything) == [
        "tenant_paused",
        "install_disabled",
        "schedule_disabled",
        "endpoint_missing",
        "driven_by_other",
    ]


def test_of_an_install_that_is_not_there_nothing_else_is_said() -> None:
    without = {"install_enabled": False, "endpoint_valid": False, "has_capability": False}
    assert codes(install_exists=False, **without) == ["install_missing"]


@pytest.mark.parametrize("changed", [{"enabled": False}, {"driven_by": "pg-boss"}])
def test_the_timing_of_what_does_not_fire_here_is_of_no_interest(changed: dict[str, Any]) -> None:
    assert len(codes(timer=None, workers_up=0, **changed)) == 1


@pytest.mark.parametrize("cron", ["0 0 30 2 *", None])
def test_what_can_never_fire_has_no_other_trouble_with_its_timer(cron: str | None) -> None:
    assert codes(cron=cron, timer=None, workers_up=0) == ["cron_invalid"]


def test_a_timer_that_is_not_there_is_all_that_is_said_of_it() -> None:
    assert codes(timer=None, workers_up=0) == ["timer_missing"]


def test_a_timer_is_overdue_when_no_worker_has_planned_it_for_a_minute() -> None:
    assert timedelta(minutes=1) == PLANNING_DELAY
    assert codes(timer=a_timer(due_at=NOW - MINUTE)) == ["nothing_holds"]
    due_at = NOW - MINUTE - SECOND
    overdue = only(timer=a_timer(due_at=due_at))
    assert (overdue.code, overdue.holds, overdue.since) == ("timer_overdue", True, due_at)
    assert codes(timer=a_timer(due_at=due_at), workers_up=0) == ["no_worker_up"]


def test_a_changed_timer_may_be_overdue_too() -> None:
    timer = a_timer(cron="5 * * * *", due_at=NOW - HOUR)
    assert codes(timer=timer) == ["timer_differs", "timer_overdue"]


def test_a_run_in_progress_holds_it() -> None:
    run = a_run(status="running", attempts=2, worker="w-1", started_at=SLOT + MINUTE)
    finding = only(open_run=run)
    assert (finding.code, finding.holds, finding.run_id) == ("run_in_progress", True, run.id)
    assert "(attempt 2, worker w-1)" in finding.text
    assert finding.since == run.started_at


def test_a_run_that_waits_for_its_retry_holds_it() -> None:
    run = a_run(status="queued", attempts=2, error="boom", started_at=SLOT)
    finding = only(open_run=run)
    assert (finding.code, finding.holds, finding.run_id) == ("retry_waiting", True, run.id)
    assert finding.since == SLOT
    assert "waits after 2 failed attempts (boom)" in finding.text
    later = only(open_run=a_run(status="queued", attempts=1, retry_at=NOW + MINUTE))
    assert "waits for its retry at 2026-03-02 12:31 UTC after" in later.text


def test_a_run_that_waits_for_a_worker_does_not_hold_it() -> None:
    run = a_run(status="queued", attempts=0)
    nothing, finding = explain(a_schedule(open_run=run))
    assert (nothing.code, finding.code) == ("nothing_holds", "run_waiting")
    assert (finding.holds, finding.run_id, finding.since) == (False, run.id, run.queued_at)


AWAY = f"{NO_RUNNER} on pool.1"


@pytest.mark.parametrize(
    ("changed", "away"),
    [
        ({"last_error": AWAY}, True),
        ({"last_error": "boom"}, False),
        ({"last_error": AWAY, "enabled": False}, False),
        ({"open_run": a_run(status="queued", attempts=1, error=AWAY)}, True),
        ({"open_run": a_run(status="queued", attempts=1), "last_error": AWAY}, False),
        ({"open_run": a_run(status="queued", attempts=0), "last_error": AWAY}, True),
        ({"open_run": a_run(status="queued", attempts=0, error=AWAY)}, False),
    ],
)
def test_its_latest_call_tells_whether_a_runner_is_there(
    changed: dict[str, Any], away: bool
) -> None:
    assert ("runner_away" in codes(**changed)) is away


def test_what_found_no_runner_says_where_it_looked() -> None:
    run = a_run(status="queued", attempts=1, error=AWAY, started_at=SLOT)
    of_run = next(
        each
        for each in explain(a_schedule(open_run=run, last_error="boom"))
        if each.code == "runner_away"
    )
    assert of_run.text == f"Its latest call found no Runner: {AWAY}"
    assert (of_run.since, of_run.run_id, of_run.holds) == (SLOT, run.id, False)
    _, of_last = explain(a_schedule(last_error=AWAY))
    assert of_last.text == f"Its latest call found no Runner: {AWAY}"
    assert (of_last.since, of_last.run_id) == (None, None)


def test_failures_are_told_once() -> None:
    failed = {"last_run_status": "error", "last_error": "boom"}
    assert codes(**failed) == ["nothing_holds", "last_run_failed"]
    assert codes(**failed, failures=FailureCount(4, SLOT)) == ["nothing_holds", "schedule_failing"]
    assert codes(**{**failed, "last_error": AWAY}) == ["nothing_holds", "runner_away"]
    assert codes(**failed, enabled=False) == ["schedule_disabled"]
    assert codes(failures=FailureCount(3)) == ["nothing_holds"]


def test_failures_have_their_error() -> None:
    for error, shown in (("boom", "boom"), (None, "no error text")):
        _, last = explain(a_schedule(last_run_status="error", last_error=error))
        assert last.text == f"Its last run failed: {shown}"
        _, failing = explain(a_schedule(last_error=error, failures=FailureCount(4, SLOT)))
        assert failing.text == f"It is failing: its last 4 runs failed, the latest with: {shown}"
        assert (failing.since, failing.holds) == (SLOT, False)


def test_a_limit_that_is_used_up_is_remarked() -> None:
    limit = UsedLimit("quota_used", "full", "delete some")
    _, finding = explain(a_schedule(used_up=[limit]))
    assert (finding.code, finding.text, finding.advice) == ("quota_used", "full", "delete some")
    assert not finding.holds


LIMITS = Limits(max_schedules=3, changes_per_minute=2, manual_runs_per_minute=1)


@pytest.mark.parametrize(
    ("schedules", "changes", "manual_runs", "found"),
    [
        (2, 1, 0, []),
        (3, 0, 0, [("quota_used", "The install has 3 of 3 schedules")]),
        (4, 0, 0, [("quota_used", "The install has 4 of 3 schedules")]),
        (0, 2, 0, [("rate_used", "The extension has made 2 changes within a minute")]),
        (0, 0, 1, [("rate_used", "The tenant has had 1 manual runs within a minute")]),
    ],
)
def test_limits_are_used_up_at_their_number(
    schedules: int, changes: int, manual_runs: int, found: list[tuple[str, str]]
) -> None:
    usage = schedules, [NOW] * changes, [NOW] * manual_runs
    used = used_limits(LIMITS, usage, NOW)
    assert [each.code for each in used] == [code for code, _ in found]
    for each, (_, text) in zip(used, found, strict=True):
        assert each.text.startswith(text)
        assert each.advice


def test_a_rate_is_used_by_the_last_minute_alone() -> None:
    assert used_limits(LIMITS, (0, [NOW - MINUTE] * 5, [NOW - MINUTE] * 5), NOW) == []

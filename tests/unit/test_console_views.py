"""What the pages of the console compute from answers of the bus, without one."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec import UNSET, structs

from console.pages import now, schedule, schedule_changes
from console.responders import ResponderInfo
from console.waterfall import waterfall
from contracts.admin_insight import (
    AttemptInfo,
    DueMinute,
    GetRunOutput,
    Lateness,
    RunMinute,
    StatsOutput,
)
from contracts.admin_schedules import AdminScheduleInfo, RunInfo
from contracts.discovery import ResponderState
from contracts.times import wire_time

NOW = datetime(2026, 3, 2, 12, 0, 30, tzinfo=UTC)
SLOT = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
WELL = StatsOutput(
    at=wire_time(NOW),
    due=[],
    runs=[],
    lateness=None,
    enabled_schedules=1,
    failing_schedules=0,
    paused_tenants=0,
    disabled_installs=0,
    missed=0,
    queued=0,
    workers_up=1,
)
STATE = ResponderState(id="r", version="1", has_database=True, running=1, waiting=0, concurrency=8)
RESPONDER = ResponderInfo(STATE, seen_at=0)


def at(seconds: float) -> str:
    return wire_time(SLOT + timedelta(seconds=seconds))


def test_all_is_well_where_nothing_is_wrong() -> None:
    assert now.figures(WELL, [RESPONDER]).worries == []
    assert now.figures(WELL, None).worries == []


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"workers_up": 0}, "No worker"),
        ({"missed": 2}, "missed"),
        ({"failing_schedules": 1}, "fail"),
        ({"paused_tenants": 1}, "1 tenant is paused"),
        ({"disabled_installs": 2}, "2 installs are disabled"),
        ({"lateness": Lateness(runs=1, p50_ms=1, p99_ms=1_001, max_ms=2_000)}, "later"),
    ],
)
def test_what_is_not_well_is_said_in_words(changes: dict[str, Any], word: str) -> None:
    (worry,) = now.figures(structs.replace(WELL, **changes), [RESPONDER]).worries
    assert word in worry


def test_a_responder_without_its_database_is_a_worry() -> None:
    lost = ResponderInfo(structs.replace(STATE, has_database=False), seen_at=0)
    (worry,) = now.figures(WELL, [RESPONDER, lost]).worries
    assert "database" in worry


def test_the_charts_of_the_hour_have_a_bar_per_minute() -> None:
    stats = structs.replace(
        WELL,
        due=[DueMinute(minute=wire_time(SLOT + timedelta(minutes=1)), count=3)],
        runs=[
            RunMinute(minute=wire_time(SLOT), success=2),
            RunMinute(minute=wire_time(SLOT + timedelta(seconds=20)), error=1),
        ],
    )
    shown = now.figures(stats, None)
    assert (len(shown.due.bars), shown.due.bars[0].total, shown.due.total) == (60, 3, 3)
    assert (len(shown.runs.bars), shown.runs.bars[-1].total, shown.runs.total) == (60, 3, 3)
    assert (shown.by_status["success"], shown.by_status["error"]) == (2, 1)


def a_run(slot: datetime = SLOT, **changes: Any) -> RunInfo:
    run = RunInfo(
        id="run",
        tenant_id="acme",
        install_id="install",
        schedule_id="schedule",
        slot=wire_time(slot),
        kind="scheduled",
        trigger="schedule",
        status="success",
        attempts=1,
        queued_at=wire_time(slot),
        started_at=None,
        finished_at=None,
        duration_ms=120,
        http_status=200,
        error=None,
        missed=0,
        worker=None,
    )
    return structs.replace(run, **changes)


def test_a_history_has_the_past_slots_without_a_run_in_their_places() -> None:
    runs = [a_run(SLOT - timedelta(minutes=minutes)) for minutes in (0, 10)]
    expected = [wire_time(SLOT + timedelta(minutes=minutes)) for minutes in (-10, -5, 0, 5)]
    rows = schedule.rows(runs, expected, NOW)
    assert [(row.slot[14:16], row.run is None) for row in rows] == [
        ("00", False),
        ("55", True),
        ("50", False),
    ]


def an_attempt(number: int, began: float, ended: float | None, status: Any) -> AttemptInfo:
    return AttemptInfo(
        attempt=number,
        worker="w",
        status=status,
        started_at=at(began),
        finished_at=None if ended is None else at(ended),
        duration_ms=None,
        http_status=None,
        error=None,
    )


def test_a_waterfall_leads_from_the_slot_over_each_attempt_to_the_answer() -> None:
    detail = GetRunOutput(
        run=a_run(queued_at=at(1)),
        attempts=[an_attempt(1, 2, 3, "error"), an_attempt(2, 8, 10, "success")],
        retry_at=None,
        lease_until=None,
        request_id=None,
        trace_id="0" * 32,
    )
    chart = waterfall(detail, NOW)
    assert [(phase.kind, phase.milliseconds) for phase in chart.phases] == [
        ("planned", 1_000),
        ("waiting", 1_000),
        ("error", 1_000),
        ("waiting", 5_000),
        ("success", 2_000),
    ]
    assert chart.milliseconds == 10_000
    last = chart.phases[-1]
    assert (last.x, last.x + last.width) == (480.0, 600.0)


def test_a_manual_run_was_not_late_for_the_minute_in_which_it_was_asked_for() -> None:
    detail = GetRunOutput(
        run=a_run(kind="manual", trigger="run_now", queued_at=at(50)),
        attempts=[an_attempt(1, 51, 53, "success")],
        retry_at=None,
        lease_until=None,
        request_id=None,
        trace_id="0" * 32,
    )
    chart = waterfall(detail, NOW)
    assert (chart.phases[0].label, chart.phases[0].milliseconds) == ("Asked for and planned", 0)
    assert chart.milliseconds == 3_000


def test_a_waterfall_of_a_run_in_progress_ends_now_or_at_the_retry() -> None:
    running = GetRunOutput(
        run=a_run(status="running"),
        attempts=[an_attempt(1, 0, None, "running")],
        retry_at=None,
        lease_until=None,
        request_id=None,
        trace_id="0" * 32,
    )
    assert waterfall(running, NOW).milliseconds == 30_000
    retrying = structs.replace(running, attempts=[an_attempt(1, 0, 1, "error")], retry_at=at(21))
    assert waterfall(retrying, NOW).phases[-1].milliseconds == 20_000
    queued = structs.replace(running, run=a_run(status="queued"), attempts=[])
    assert waterfall(queued, NOW).phases[-1].label == "Planned, not yet claimed"


SCHEDULE = AdminScheduleInfo(
    id="7f0c8e9a-9a52-4e0b-8a43-0d6f3d8f0001",
    endpoint_path="/a",
    endpoint_method="POST",
    name="a\u202eb",
    cron="0 * * * *",
    timezone="UTC",
    enabled=True,
    payload={"a": 1},
    last_run_at=None,
    last_run_status=None,
    last_error=None,
    created_at=at(0),
    updated_at=at(0),
    next_run_at=None,
    revision=3,
    tenant_id="acme",
    install_id="install",
    endpoint_id=None,
    runner_schedule_id=None,
)
FORM = {
    "name": "a⟨U+202E⟩b",
    "endpoint": "POST /a",
    "cron": "0 * * * *",
    "timezone": "UTC",
    "payload": '{"a": 1}',
    "revision": "3",
}


def test_a_form_sent_back_unchanged_changes_nothing() -> None:
    change = schedule_changes.read_change(SCHEDULE, FORM, with_payload=True)
    given = (change.name, change.endpoint, change.cron, change.timezone, change.payload)
    assert given == (UNSET,) * 5
    assert change.expected_revision == 3


def test_a_form_changes_what_differs_and_payloads_only_for_those_who_see_them() -> None:
    form = {**FORM, "name": "", "cron": "5 * * * *", "payload": ""}
    change = schedule_changes.read_change(SCHEDULE, form, with_payload=True)
    assert (change.name, change.cron, change.payload) == (None, "5 * * * *", None)
    hidden = schedule_changes.read_change(SCHEDULE, form, with_payload=False)
    assert hidden.payload is UNSET
    with pytest.raises(ValueError, match="Not JSON"):
        schedule_changes.read_change(SCHEDULE, {**form, "payload": "{"}, with_payload=True)


def test_a_form_of_an_earlier_revision_is_told_what_its_fields_are_now() -> None:
    def meanwhile(form: dict[str, str], *, with_payload: bool = True) -> dict[str, str] | None:
        return schedule_changes.changed_meanwhile(
            SCHEDULE, {**FORM, **form}, with_payload=with_payload
        )

    assert meanwhile({"cron": "5 * * * *"}) is None
    assert meanwhile({"revision": "2"}) == {}
    differing = {"revision": "2", "cron": "5 * * * *", "payload": "[]"}
    assert meanwhile(differing) == {
        "cron": "It is now: 0 * * * *",
        "payload": 'It is now: {\n  "a": 1\n}',
    }
    assert meanwhile(differing, with_payload=False) == {"cron": "It is now: 0 * * * *"}


def test_a_schedule_without_a_name_is_confirmed_by_the_beginning_of_its_id() -> None:
    assert schedule_changes.confirmation(structs.replace(SCHEDULE, name=None)) == "7f0c8e9a"
    assert schedule_changes.confirmation(structs.replace(SCHEDULE, name=" x ")) == "x"

"""The sliding window, and the defaults of the limits."""

from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.times import wire_time
from service.rules.limits import (
    WINDOW,
    Limits,
    append_window,
    check_rate,
    rate_used,
    too_many_changes,
    too_many_schedules,
)

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def ago(*seconds: float) -> list[datetime]:
    return [NOW - timedelta(seconds=number) for number in seconds]


def test_the_defaults_are_those_of_the_contract() -> None:
    limits = Limits()
    assert (limits.min_interval_minutes, limits.max_schedules) == (5, 50)
    assert (limits.changes_per_minute, limits.manual_runs_per_minute) == (10, 5)
    assert (limits.max_cron_length, limits.max_timezone_length) == (128, 64)
    assert (limits.max_name_length, limits.max_endpoint_length) == (128, 256)
    assert (limits.max_payload_length, limits.max_payload_depth) == (100_000, 64)


def test_the_quota_message_names_the_quota() -> None:
    assert too_many_schedules(50) == "Too many schedules (max 50 per extension install)"


def test_the_message_of_the_rate_names_the_moment_of_the_next_change() -> None:
    assert too_many_changes(10, NOW, 1_500) == (
        f"Too many schedule changes (max 10 a minute; the next from {wire_time(ago(-1.5)[0])})"
    )


def test_a_change_below_the_limit_is_allowed() -> None:
    assert check_rate([], NOW, 1) is None
    assert check_rate(ago(1, 2), NOW, 3) is None


def test_a_change_at_the_limit_gets_the_time_when_the_oldest_expires() -> None:
    assert check_rate(ago(59, 20, 1), NOW, 3) == 1_000
    assert check_rate(ago(1, 59, 20), NOW, 3) == 1_000
    assert check_rate(ago(59, 20, 1), NOW, 2) == 40_000
    assert check_rate(ago(0), NOW, 1) == 60_000
    assert check_rate(ago(59.9995), NOW, 1) == 1


def test_a_change_a_minute_old_no_longer_counts() -> None:
    assert check_rate(ago(60), NOW, 1) is None
    assert check_rate(ago(3600, 61, 60, 1), NOW, 2) is None


def test_what_is_used_of_a_rate_are_the_changes_of_the_last_minute() -> None:
    assert rate_used(ago(90, 60, 59, 1), NOW) == 2
    assert rate_used([], NOW) == 0


def test_a_clock_set_back_by_an_hour_blocks_no_caller() -> None:
    assert check_rate(ago(-3600), NOW, 1) is None
    assert check_rate(ago(-1), NOW, 1) == 61_000


def test_the_window_never_exceeds_the_limit_or_the_minute() -> None:
    assert append_window(ago(90, 60, 59, 1), NOW, 10) == [*ago(59, 1), NOW]
    assert append_window(ago(3, 2, 1), NOW, 2) == [*ago(1), NOW]
    assert append_window(ago(1, 3, 2), NOW, 3) == [*ago(2, 1), NOW]
    assert len(append_window(ago(*range(600)), NOW, 10**9)) == 61


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 30_000), min_size=1, max_size=60), st.integers(1, 8))
def test_no_minute_ever_holds_more_than_the_limit(waits: list[int], limit: int) -> None:
    now, kept = NOW, list[datetime]()
    accepted: list[datetime] = []
    for wait in waits:
        now += timedelta(milliseconds=wait)
        retry_after = check_rate(kept, now, limit)
        if retry_after is not None:
            assert (
                check_rate(kept, now + timedelta(milliseconds=retry_after - 1), limit) is not None
            )
            assert check_rate(kept, now + timedelta(milliseconds=retry_after), limit) is None
            continue
        kept = append_window(kept, now, limit)
        accepted.append(now)
        assert sum(now - WINDOW < at for at in accepted) <= limit

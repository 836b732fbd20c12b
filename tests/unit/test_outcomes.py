"""What a Runner's answer means, and when a failed attempt is made again."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.rules.outcomes import CallOutcome, RetryRules, from_response, retry_at, sanitise_error

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
STEADY = RetryRules(jitter=0.0)


@pytest.mark.parametrize("status", [200, 204, 302, 399])
def test_a_status_below_400_is_a_success(status: int) -> None:
    body = b'{"status":%d,"headers":null,"body_b64":"e30=","error":null}' % status
    assert from_response(body, 1000) == CallOutcome(http_status=status)


@pytest.mark.parametrize(
    ("status", "final"),
    [(400, True), (404, True), (408, False), (425, False), (429, False), (499, True), (500, False)],
)
def test_client_errors_are_final_except_transient_ones(status: int, final: bool) -> None:
    outcome = from_response(b'{"status":%d}' % status, 1000)
    assert (outcome.http_status, outcome.final) == (status, final)
    assert str(status) in (outcome.error or "")


def test_an_error_is_a_failure_with_any_status() -> None:
    assert from_response(b'{"status":200,"error":"trap"}', 1000) == CallOutcome(200, "trap")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'{"status":"200"}',
        b'{"status":99}',
        b'{"status":600}',
        b'{"status":true}',
        b'{"status":200.0}',
        b"\xff",
        b"x" * 1001,
        b"[" * 900,
    ],
)
def test_an_unreadable_response_is_retried(body: bytes) -> None:
    outcome = from_response(body, 1000)
    assert outcome.error
    assert not outcome.final
    assert outcome.http_status is None


def test_a_response_is_as_large_as_it_may_be_and_no_larger() -> None:
    body = b'{"status":200}'
    assert from_response(body, len(body)) == CallOutcome(http_status=200)
    assert "larger than 13 bytes" in (from_response(body, len(body) - 1).error or "")


@given(st.binary(max_size=200))
def test_no_response_body_raises(body: bytes) -> None:
    from_response(body, 100)


@given(st.text(max_size=50).map(lambda text: text * 200))
def test_stored_texts_fit_the_column(text: str) -> None:
    stored = sanitise_error(text)
    assert len(stored) <= 4000
    assert len(sanitise_error("x" * 4_100)) == 4_000
    assert "\0" not in stored
    stored.encode()


def test_retry_delays_grow_and_end() -> None:
    waits = [retry_at(attempt, NOW, None, STEADY, 0.5) for attempt in range(1, 6)]
    seconds = [wait and (wait - NOW).total_seconds() for wait in waits]
    assert seconds == [5, 20, 80, None, None]
    assert STEADY.max_attempts == 4


def test_jitter_moves_the_delay_by_a_fifth() -> None:
    earliest, latest = (retry_at(1, NOW, None, RetryRules(), chance) for chance in (0.0, 1.0))
    assert earliest == NOW + timedelta(seconds=4)
    assert latest == NOW + timedelta(seconds=6)


def test_no_retry_starts_after_the_next_slot() -> None:
    assert retry_at(1, NOW, NOW + timedelta(seconds=5), STEADY, 0.5) is not None
    assert retry_at(1, NOW, NOW + timedelta(seconds=4), STEADY, 0.5) is None

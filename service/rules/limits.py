"""Limits, and the sliding window of rate limits."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from math import ceil

from msgspec import Struct

from contracts.times import wire_time

WINDOW = timedelta(minutes=1)


class Limits(Struct, frozen=True, kw_only=True):
    """The limits of one install. Lengths are in characters (code points)."""

    min_interval_minutes: int = 5
    max_schedules: int = 50
    changes_per_minute: int = 10
    manual_runs_per_minute: int = 5
    max_cron_length: int = 128
    max_timezone_length: int = 64
    max_name_length: int = 128
    max_endpoint_length: int = 256
    max_payload_length: int = 100_000
    max_payload_depth: int = 64


def too_many_schedules(max_schedules: int) -> str:
    """Return the message for a create beyond the quota."""
    return f"Too many schedules (max {max_schedules} per extension install)"


def too_many_changes(limit: int, now: datetime, wait_ms: int) -> str:
    """Return the message for a change beyond the rate, with the moment when the next may pass."""
    next_at = now + timedelta(milliseconds=wait_ms)
    return f"Too many schedule changes (max {limit} a minute; the next from {wire_time(next_at)})"


def check_rate(accepted: Sequence[datetime], now: datetime, limit: int) -> int | None:
    """Return None if one more change is allowed, else the milliseconds until it would be.

    ``accepted`` are the instants of earlier changes, in any order; ``limit`` is the most there may
    be in any window of a minute, at least 1.
    """
    recent = sorted(_recent(accepted, now))
    if len(recent) < limit:
        return None
    return ceil((recent[-limit] + WINDOW - now) / timedelta(milliseconds=1))


def append_window(accepted: Sequence[datetime], now: datetime, limit: int) -> list[datetime]:
    """Return the instants to keep for the next ``check_rate`` after a change at ``now``.

    They are at most ``limit``.
    """
    return [*sorted(_recent(accepted, now)), now][-limit:]


def rate_used(accepted: Sequence[datetime], now: datetime) -> int:
    """Return how many changes of the last minute count against a rate."""
    return len(_recent(accepted, now))


def _recent(accepted: Sequence[datetime], now: datetime) -> list[datetime]:
    # In both directions: a database clock set back by an hour must not block an install that long.
    return [at for at in accepted if abs(now - at) < WINDOW]

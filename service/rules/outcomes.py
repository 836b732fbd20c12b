"""What a Runner's answer means for a run, and when a failed attempt is made again."""

from datetime import datetime, timedelta

import msgspec
from msgspec import Struct

MAX_ERROR = 4_000
RETRIED_4XX = frozenset({408, 425, 429})


class RetryRules(Struct, frozen=True):
    """The wait before each further attempt, and by which share of it chance moves it."""

    delays: tuple[timedelta, ...] = (
        timedelta(seconds=5),
        timedelta(seconds=20),
        timedelta(seconds=80),
    )
    jitter: float = 0.2

    @property
    def max_attempts(self) -> int:
        """How many attempts an occurrence has in all."""
        return 1 + len(self.delays)


class Outcome(Struct, frozen=True):
    """How a call ended; ``error`` is None for a success, ``final`` where trying again is no use."""

    http_status: int | None = None
    error: str | None = None
    final: bool = False


class _Answer(Struct):
    """The members of an execute response that decide; the others may be anything."""

    status: int
    error: str | None = None


_ANSWERS = msgspec.json.Decoder(_Answer)


def of_answer(body: bytes, limit: int) -> Outcome:
    """Judge a Runner's response body. Success is a status below 400 and no ``error``."""
    if not body:
        return Outcome(error="The Runner sent an empty response")
    if len(body) > limit:
        return Outcome(error=f"The Runner's response is larger than {limit} bytes")
    try:
        answer = _ANSWERS.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        return Outcome(error=f"The Runner's response cannot be read: {error}")
    if answer.error is None and answer.status < 400:
        return Outcome(http_status=answer.status)
    return Outcome(
        http_status=answer.status,
        error=clean(answer.error or f"The extension answered with status {answer.status}"),
        final=400 <= answer.status < 500 and answer.status not in RETRIED_4XX,
    )


def clean(text: str) -> str:
    """An error text as it is stored: its beginning, without NULs and lone surrogates."""
    return text.replace("\0", "").encode(errors="replace").decode()[:MAX_ERROR]


def retry_at(
    attempt: int, now: datetime, next_slot: datetime | None, rules: RetryRules, chance: float
) -> datetime | None:
    """When to try again after attempt number ``attempt`` failed; None where that was the last.

    ``chance`` in [0, 1) moves the wait. No retry starts after the schedule's next slot.
    """
    if attempt > len(rules.delays):
        return None
    at = now + rules.delays[attempt - 1] * (1 + rules.jitter * (2 * chance - 1))
    return None if next_slot is not None and at > next_slot else at

"""The outcome of a Runner's response, and the time of the next attempt after a failure."""

from datetime import datetime, timedelta

import msgspec
from msgspec import Struct

from contracts.execution import StatusClass, classify_status

MAX_ERROR = 4_000
RETRIED_4XX = frozenset({408, 425, 429})


class RetryRules(Struct, frozen=True):
    """The delay before each further attempt, and its jitter as a share of the delay."""

    delays: tuple[timedelta, ...] = (
        timedelta(seconds=5),
        timedelta(seconds=20),
        timedelta(seconds=80),
    )
    jitter: float = 0.2

    @property
    def max_attempts(self) -> int:
        """Return the number of attempts of an occurrence in all."""
        return 1 + len(self.delays)


class FailureRules(Struct, frozen=True):
    """After how many failed runs in a row a schedule is failing, and is disabled (0: never)."""

    failing_after: int = 3
    disable_after: int = 0


class CallOutcome(Struct, frozen=True):
    """The outcome of a call; ``error`` is None for a success, ``final`` rules out a retry."""

    http_status: int | None = None
    error: str | None = None
    final: bool = False


class _Response(Struct):
    """The members of an execute response that count; the others may be anything."""

    status: object  # judged by ``classify_status``: as ``int``, 200.0 would be read as 200
    error: str | None = None


_RESPONSES = msgspec.json.Decoder(_Response)


def from_response(body: bytes, limit: int) -> CallOutcome:
    """Return the outcome of a response body; success is no ``error`` and a status of 200 to 399."""
    if not body:
        return CallOutcome(error="The Runner sent an empty response")
    if len(body) > limit:
        return CallOutcome(error=f"The Runner's response is larger than {limit} bytes")
    try:
        answer = _RESPONSES.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        return CallOutcome(error=f"The Runner's response cannot be read: {error}")
    status, judgement = answer.status, classify_status(answer.status)
    if judgement is StatusClass.INVALID or not isinstance(status, int):
        return CallOutcome(error="The Runner's response has no status from 100 to 599")
    if answer.error is None and judgement is StatusClass.SUCCESS:
        return CallOutcome(http_status=status)
    return CallOutcome(
        http_status=status,
        error=sanitise_error(answer.error or f"The extension answered with status {status}"),
        final=400 <= status < 500 and status not in RETRIED_4XX,
    )


def sanitise_error(text: str) -> str:
    """Return an error text as it is stored: its beginning, without NULs and lone surrogates."""
    return text.replace("\0", "").encode(errors="replace").decode()[:MAX_ERROR]


def retry_at(
    attempt: int, now: datetime, next_slot: datetime | None, rules: RetryRules, chance: float
) -> datetime | None:
    """Return the time of the next attempt after number ``attempt`` failed; None after the last.

    ``chance`` in [0, 1) places it within the jitter. No retry starts after the next slot.
    """
    if attempt > len(rules.delays):
        return None
    at = now + rules.delays[attempt - 1] * (1 + rules.jitter * (2 * chance - 1))
    return None if next_slot is not None and at > next_slot else at

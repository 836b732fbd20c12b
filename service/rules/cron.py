"""Five-field cron expressions: validation, and expansion into numbers."""

import re
from functools import lru_cache
from itertools import pairwise

from croniter import croniter
from msgspec import Struct

MINUTES_PER_DAY = 1440
_MINUTES = tuple(range(MINUTES_PER_DAY))

TOO_LONG = "Cron expression too long"
FIVE_FIELDS = "Invalid cron expression (expected 5 fields: m h dom mon dow)"
UNSUPPORTED = "Invalid cron expression (unsupported characters)"
BOTH_DAYS = "Cron cannot set both day-of-month and day-of-week"
NEVER_FIRES = "Invalid cron expression (never fires)"

_FIELDS = (
    ("minute", 0, 59),
    ("hour", 0, 23),
    ("day of month", 1, 31),
    ("month", 1, 12),
    ("day of week", 0, 7),
)
_SUPPORTED = re.compile(r"[0-9*/,\-]+")
_TERM = re.compile(r"(?:(?P<all>\*)|(?P<low>[0-9]+)(?:-(?P<high>[0-9]+))?)(?:/(?P<step>[0-9]+))?")
_LONGEST_MONTH = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_MONTH_ENDS = {2: (28, 29)}


class InvalidCronError(Exception):
    """An expression that is not accepted; ``str()`` of it is the field error."""


class Cron(Struct, frozen=True, cache_hash=True):
    """An accepted expression. ``text`` is the trimmed original; weekdays are 0-6 from Sunday.

    ``times`` are the minutes of a matching day in ascending order, ``shortest_gap`` the minutes
    between its two closest slots on the wall clock, ``fixed`` whether neither minute nor hour
    contains ``*`` (which decides what happens where the clock jumps).
    """

    text: str
    minute: frozenset[int]
    hour: frozenset[int]
    day: frozenset[int]
    month: frozenset[int]
    weekday: frozenset[int]
    times: tuple[int, ...]
    shortest_gap: int
    fixed: bool


def parse(expression: str, *, min_interval_minutes: int = 5, max_length: int = 128) -> Cron:
    """Parse an expression; raises InvalidCronError with the first rule that it breaks.

    ``min_interval_minutes`` is at most a day. For stored expressions pass 1: the setting may
    have been raised since, which is no reason to stop firing.
    """
    text = expression.strip()
    if len(text) > max_length:
        raise InvalidCronError(TOO_LONG)
    return _compile(text, min_interval_minutes)


def too_frequent(min_interval_minutes: int) -> str:
    """Return the message for an expression with a shorter interval."""
    return f"Cron too frequent (minimum interval is {min_interval_minutes} minutes)"


# Refused expressions are not cached, and cached ones share their sets of numbers: callers may send
# any number of different ones, and the largest took 45 KB.
@lru_cache(maxsize=16384)
def _compile(text: str, min_interval_minutes: int) -> Cron:
    # Spaces and tabs by name: str.split() would also take Unicode spaces for separators.
    fields = [field for field in re.split(r"[ \t]+", text) if field]
    if len(fields) != len(_FIELDS):
        raise InvalidCronError(FIVE_FIELDS)
    if not all(_SUPPORTED.fullmatch(field) for field in fields):
        raise InvalidCronError(UNSUPPORTED)
    plain = [_plain(field, *_FIELDS[i]) for i, field in enumerate(fields)]
    if fields[2] != "*" and fields[4] != "*":
        raise InvalidCronError(BOTH_DAYS)
    minute, hour, day, month, weekday = _expand(plain)
    if not any(min(day) <= _LONGEST_MONTH[m - 1] for m in month):
        raise InvalidCronError(NEVER_FIRES)
    times = tuple(_MINUTES[60 * h + m] for h in sorted(hour) for m in sorted(minute))
    shortest_gap = _shortest_gap(times, adjacent=_has_adjacent_days(day, month, weekday))
    if shortest_gap < min_interval_minutes:
        raise InvalidCronError(too_frequent(min_interval_minutes))
    return Cron(
        text=text,
        minute=minute,
        hour=hour,
        day=day,
        month=month,
        weekday=weekday,
        times=times,
        shortest_gap=shortest_gap,
        fixed="*" not in fields[0] + fields[1],
    )


def _plain(field: str, name: str, lowest: int, highest: int) -> str:
    """Return the field with every term spelled as ``*``, ``a``, or ``a-b/step`` with a < b."""
    return ",".join(_plain_term(term, name, lowest, highest) for term in field.split(","))


def _plain_term(term: str, name: str, lowest: int, highest: int) -> str:
    match = _TERM.fullmatch(term)
    if match is None:
        raise _refused(name, f"'{term}' is not a number, range or step")
    step = _number(match["step"] or "1", name)
    if step == 0:
        raise _refused(name, "step must be above 0")
    if match["all"]:
        return f"{lowest}-{highest}/{step}" if step <= highest - lowest else str(lowest)
    low = _number(match["low"], name)
    high = _number(match["high"], name) if match["high"] else highest if match["step"] else low
    for number in (low, high):
        if not lowest <= number <= highest:
            raise _refused(name, f"{number} is outside {lowest}-{highest}")
    if high < low:
        raise _refused(name, f"range {low}-{high} is not ascending")
    # A single number where the step leads past the end: croniter takes 5-5 for the whole cycle.
    return f"{low}-{high}/{step}" if low + step <= high else str(low)


def _number(digits: str, name: str) -> int:
    try:
        return int(digits)
    except ValueError as error:  # it refuses thousands of digits
        raise _refused(name, "a number has too many digits") from error


def _refused(name: str, why: str) -> InvalidCronError:
    return InvalidCronError(f"Invalid cron expression ({name}: {why})")


def _expand(plain: list[str]) -> list[frozenset[int]]:
    expanded, _ = croniter.expand(" ".join(plain))
    sets = []
    for (_, lowest, highest), numbers in zip(_FIELDS, expanded, strict=True):
        # Of days of the week each is listed, and Sunday is 0, also where it was written as 7.
        chosen = range(lowest, highest + 1) if "*" in numbers else map(int, numbers)
        sets.append(_shared(frozenset(chosen)))
    return sets


@lru_cache(maxsize=256)
def _shared(numbers: frozenset[int]) -> frozenset[int]:
    """Return one shared object for equal sets."""
    return numbers


def _has_adjacent_days(day: frozenset[int], month: frozenset[int], weekday: frozenset[int]) -> bool:
    """Return whether two consecutive dates may match; day or weekday is unrestricted."""
    if len(weekday) < 7:
        return any((number + 1) % 7 in weekday for number in weekday)
    return any(_adjacent_in(number, day, month) for number in month)


def _adjacent_in(month: int, day: frozenset[int], months: frozenset[int]) -> bool:
    longest = _LONGEST_MONTH[month - 1]
    if any(number + 1 in day and number < longest for number in day):
        return True
    ends = _MONTH_ENDS.get(month, (longest,))
    return 1 in day and month % 12 + 1 in months and any(end in day for end in ends)


def _shortest_gap(times: tuple[int, ...], *, adjacent: bool) -> int:
    """Return the minutes between the closest two slots, at most a day."""
    gaps = [later - earlier for earlier, later in pairwise(times)]
    if adjacent:
        gaps.append(times[0] + MINUTES_PER_DAY - times[-1])
    return min(gaps, default=MINUTES_PER_DAY)

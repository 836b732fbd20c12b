"""Which cron expressions are accepted, with which words the others are refused."""

import json
import sys
from collections.abc import Iterator
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from service.rules import cron
from service.rules.cron import InvalidCronError, parse

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "vectors" / "cron.json").read_text()
)
FIELDS = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 7)]


def refusal(expression: str, **options: int) -> str:
    with pytest.raises(InvalidCronError) as caught:
        parse(expression, **options)
    return str(caught.value)


@pytest.mark.parametrize("expression", VECTORS["accepted"])
def test_expressions_of_the_accepted_vectors_are_valid(expression: str) -> None:
    assert parse(expression).text == expression.strip()


@pytest.mark.parametrize(
    ("expression", "message"), [(case["cron"], case["message"]) for case in VECTORS["rejected"]]
)
def test_expressions_of_the_refused_vectors_are_invalid(expression: str, message: str) -> None:
    assert refusal(expression).startswith(message)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("0 9 * *", "Invalid cron expression (expected 5 fields: m h dom mon dow)"),
        ("0\u00a09 * * *", "Invalid cron expression (expected 5 fields: m h dom mon dow)"),
        ("0\n9 * * *", "Invalid cron expression (expected 5 fields: m h dom mon dow)"),
        ("0 9 * * ٣", "Invalid cron expression (unsupported characters)"),
        ("0 9 * * \u00b2", "Invalid cron expression (unsupported characters)"),
        ("0 9\u2003 * * *", "Invalid cron expression (unsupported characters)"),
        ("0 9 * * *\0", "Invalid cron expression (unsupported characters)"),
        ("0 9 * * \ud800", "Invalid cron expression (unsupported characters)"),
        ("0 9 * * +1", "Invalid cron expression (unsupported characters)"),
        ("60 * * * *", "Invalid cron expression (minute: 60 is outside 0-59)"),
        ("0 0 1-32 * *", "Invalid cron expression (day of month: 32 is outside 1-31)"),
        ("0 0 * 0/2 *", "Invalid cron expression (month: 0 is outside 1-12)"),
        ("0 9-8 * * *", "Invalid cron expression (hour: range 9-8 is not ascending)"),
        ("0 */0 * * *", "Invalid cron expression (hour: step must be above 0)"),
        ("0 1-2-3 * * *", "Invalid cron expression (hour: '1-2-3' is not a number, range or step)"),
        ("0 -1 * * *", "Invalid cron expression (hour: '-1' is not a number, range or step)"),
        ("0 /2 * * *", "Invalid cron expression (hour: '/2' is not a number, range or step)"),
        ("0 *5 * * *", "Invalid cron expression (hour: '*5' is not a number, range or step)"),
        ("0 9 1-31 * 1", "Cron cannot set both day-of-month and day-of-week"),
        ("0 9 1 * */1", "Cron cannot set both day-of-month and day-of-week"),
        ("0 0 30,31 2 *", "Invalid cron expression (never fires)"),
        ("*/4 * * * *", "Cron too frequent (minimum interval is 5 minutes)"),
    ],
)
def test_refusals_name_the_field_and_the_reason(expression: str, message: str) -> None:
    assert refusal(expression) == message


def test_length_is_counted_after_trimming() -> None:
    longest = "0 0 " + "1," * 59 + "1 * *"
    assert len(longest) == 127
    assert parse(f"  {longest}  ").day == {1}
    assert refusal(f"{longest}/1") == "Cron expression too long"
    assert refusal("0" * 129) == "Cron expression too long"
    assert refusal("0" * 128).startswith("Invalid cron expression (expected 5 fields")
    assert refusal("0 0 * * *", max_length=8) == "Cron expression too long"
    assert parse(" \t0 0 * * *\n" + " " * 200).text == "0 0 * * *"


def test_inner_whitespace_is_kept_as_given() -> None:
    assert parse("  0\t9  * * * ").text == "0\t9  * * *"


@pytest.mark.parametrize(
    ("expression", "minutes"),
    [("*/7 * * * *", 4), ("* * * * *", 1), ("0,2 * * * *", 2), ("0 * * * *", 60)],
)
def test_the_minimum_interval_is_a_parameter(expression: str, minutes: int) -> None:
    assert parse(expression, min_interval_minutes=minutes).shortest_gap == minutes
    assert refusal(expression, min_interval_minutes=minutes + 1) == (
        f"Cron too frequent (minimum interval is {minutes + 1} minutes)"
    )


@pytest.mark.parametrize(
    "expression",
    [
        "0,58 0,23 1 * *",  # the day after never matches
        "0,58 0,23 * * 1",
        "0,58 0,23 * * 1,3,5",
        "0,58 0,23 1,31 1,3,5 *",  # 31 January is followed by a February
        "0,58 0,23 1,30 2,4 *",  # 30 April is followed by a May
        "0,58 0,23 31 * *",
        "0,58 0,23 28 2 *",
        "0,58 0,23 29,31 2,4 *",  # no 31st in either
        "0,58 0,23 1,27 2,3 *",
        "0,58 0,23 30,31 4,6 *",  # no 31st: the day after the last does not match
        "0,58 0,23 29,30 2 *",
        "0,58 0,23 */2 2 *",
        "0,55 0,23 * * *",
    ],
)
def test_late_and_early_slots_are_accepted_if_no_two_days_adjoin(expression: str) -> None:
    assert parse(expression).shortest_gap >= 5


@pytest.mark.parametrize(
    "expression",
    [
        "58,0 0,23 * * *",
        "0,58 0,23 * * 0,6",
        "0,58 0,23 * * 6-7",
        "0,58 0,23 1,31 1,2 *",
        "0,58 0,23 1,31 12,1 *",
        "0,58 0,23 1,30 4,5 *",
        "0,58 0,23 1,28 2,3 *",  # in a common year
        "0,58 0,23 1,29 2,3 *",  # in a leap year
        "0,58 0,23 28,29 2 *",
        "0,58 0,23 */2 * *",  # 31st and 1st
        "0,58 0,23 5,6 7 *",
    ],
)
def test_late_and_early_slots_are_refused_if_two_days_adjoin(expression: str) -> None:
    assert refusal(expression) == "Cron too frequent (minimum interval is 5 minutes)"


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("*", set(range(7))),
        ("7", {0}),
        ("5-7", {5, 6, 0}),
        ("5/1", {5, 6, 0}),  # the end of the range 0-7
        ("1/2", {1, 3, 5, 0}),
        ("*/2", {0, 2, 4, 6}),
        ("0-7/7", {0}),
        ("7/3", {0}),
        ("3-3", {3}),
        ("02", {2}),
        ("*,3", set(range(7))),
        ("1/9", {1}),
    ],
)
def test_days_of_week_expand_to_their_numbers(field: str, expected: set[int]) -> None:
    assert parse(f"0 0 * * {field}").weekday == expected


@pytest.mark.parametrize(
    ("expression", "fixed"),
    [
        ("0 0 * * *", True),
        ("0,30 1-3 * 1 1-5", True),
        ("0/15 0/2 * * *", True),
        ("*/15 1 * * *", False),
        ("0 * * * *", False),
        ("0,*/30 1 * * *", False),
    ],
)
def test_fixed_means_no_star_in_minute_or_hour(expression: str, fixed: bool) -> None:
    assert parse(expression).fixed is fixed


def numbers_of(field: str, lowest: int, highest: int) -> Iterator[int]:
    """Yield what a valid field stands for, written without a look at the code under test."""
    for term in field.split(","):
        span, _, step = term.partition("/")
        low, dash, high = span.partition("-")
        first = lowest if low == "*" else int(low)
        last = int(high) if dash else (highest if low == "*" or step else first)
        yield from range(first, last + 1, int(step or 1))


@st.composite
def fields(draw: st.DrawFn, lowest: int, highest: int) -> str:
    terms = []
    for _ in range(draw(st.integers(1, 3))):
        low = draw(st.integers(lowest, highest))
        high = draw(st.integers(low, highest))
        step = draw(st.integers(1, highest + 3))
        shapes = [f"{low}", f"{low}-{high}", f"{low}-{high}/{step}", f"{low}/{step}", f"*/{step}"]
        terms.append(draw(st.sampled_from([*shapes, "*"])))
    return ",".join(terms)


@st.composite
def expressions(draw: st.DrawFn) -> str:
    parts = [draw(fields(lowest, highest)) for lowest, highest in FIELDS]
    parts[draw(st.sampled_from([2, 4]))] = "*"
    return " ".join(parts)


@settings(max_examples=150, deadline=None, derandomize=True)
@example("*/59 */23 */30 * *")
@example("*/60 */24 */31 * *")
@example("0 0 */32 */11 *")
@example("0 0 * */12 */7")
@example("0 0 * */13 */6")
@given(expressions())
def test_fields_expand_to_their_values(expression: str) -> None:
    minute, hour, day, month, weekday = (
        set(numbers_of(field, *bounds))
        for field, bounds in zip(expression.split(), FIELDS, strict=True)
    )
    if not matching_days(day, month, {n % 7 for n in weekday}):
        assert refusal(expression, max_length=1000) == "Invalid cron expression (never fires)"
        return
    cron = parse(expression, min_interval_minutes=1, max_length=1000)
    assert cron.minute == minute
    assert cron.hour == hour
    assert cron.day == day
    assert cron.month == month
    assert cron.weekday == {n % 7 for n in weekday}


def matching_days(day: set[int], month: set[int], weekday: set[int]) -> list[date]:
    """Of twelve years: every length of February, its 29th on different days of the week."""
    start = date(2019, 12, 31)
    days = (start + timedelta(days=n) for n in range(12 * 366))
    return [d for d in days if d.day in day and d.month in month and d.isoweekday() % 7 in weekday]


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    minutes=st.lists(st.sampled_from([0, 1, 3, 30, 55, 57, 58, 59]), min_size=1, max_size=3),
    hours=st.lists(st.sampled_from([0, 1, 22, 23]), min_size=1, max_size=3),
    days=st.lists(st.sampled_from([1, 2, 15, 27, 28, 29, 30, 31]), min_size=1, max_size=3),
    months=st.lists(st.integers(1, 12), min_size=1, max_size=3),
    weekdays=st.lists(st.integers(0, 7), min_size=1, max_size=3),
    by_weekday=st.booleans(),
)
def test_the_shortest_gap_is_that_of_a_walk_over_the_calendar(
    minutes: list[int],
    hours: list[int],
    days: list[int],
    months: list[int],
    weekdays: list[int],
    by_weekday: bool,
) -> None:
    text = [",".join(map(str, part)) for part in (minutes, hours, days, months, weekdays)]
    text[2 if by_weekday else 4] = "*"
    wanted_days = set(range(1, 32)) if by_weekday else set(days)
    wanted_weekdays = {n % 7 for n in weekdays} if by_weekday else set(range(7))
    dates = matching_days(wanted_days, set(months), wanted_weekdays)
    if not dates:
        assert refusal(" ".join(text)) == "Invalid cron expression (never fires)"
        return
    times = sorted({60 * hour + minute for hour in hours for minute in minutes})
    walls = [1440 * d.toordinal() + time for d in dates for time in times]
    gap = min(later - earlier for earlier, later in pairwise(walls))
    cron = parse(" ".join(text), min_interval_minutes=1)
    assert cron.shortest_gap == min(gap, 1440)


def test_results_are_shared_between_equal_expressions() -> None:
    first = parse("0 9 * * 1-5")
    assert parse(" 0 9 * * 1-5 ") is first
    assert parse(" 0 9 * * 1-5 ", min_interval_minutes=1) == first
    assert hash(first) == hash(parse("0 9 * * 1-5"))


def test_expressions_without_end_do_not_fill_the_memory() -> None:
    held = cron._compile.cache_info().currsize
    for number in range(300):
        with pytest.raises(InvalidCronError):
            parse(f"0-59,{number % 60} * * {1 + number % 12} {number % 7}")
    assert cron._compile.cache_info().currsize == held
    most = parse("*/5 * * * *")
    assert sys.getsizeof(most.times) < 3_000
    assert most.hour is parse("5,10 * * * *").hour
    assert most.times[100] is parse("*/10 * * * *").times[50]

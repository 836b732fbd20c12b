"""What helps an author: words for an expression, coming slots with clock changes, suggestions."""

from datetime import UTC, datetime
from itertools import product

import pytest

from service.rules import zones
from service.rules.cron import parse
from service.rules.cron_words import describe
from service.rules.hints import ALIASES, suggest_cron, suggest_timezone
from service.rules.slot_preview import SlotPreview, preview
from service.rules.slots import next_slots


@pytest.mark.parametrize(
    ("expression", "timezone", "words"),
    [
        ("30 2 * * 1-5", "Europe/Berlin", "At 02:30, Monday through Friday, Europe/Berlin time"),
        ("*/5 * * * *", "UTC", "Every 5 minutes, UTC"),
        ("*/45 * * * *", "UTC", "At 0 and 45 minutes past the hour, UTC"),
        ("5/45 * * * *", "UTC", "At 5 and 50 minutes past the hour, UTC"),
        ("0-59/61 * * * *", "UTC", "Every hour, UTC"),
        ("1-1/5 3 * * *", "UTC", "At 03:01, UTC"),
        ("0,0 0 * * *", "UTC", "At 00:00, UTC"),
        ("0 */6 * * *", "UTC", "Every 6 hours, UTC"),
        ("0 */5 * * *", "UTC", "At 00:00, 05:00, 10:00, 15:00 and 20:00, UTC"),
        ("0 8-18/2 * * *", "UTC", "Every 2 hours, between 08:00 and 18:59, UTC"),
        ("0 0 */15 * *", "UTC", "At 00:00, on day 1, 16, and 31 of the month, UTC"),
        ("0 0 1-31 * *", "UTC", "At 00:00, UTC"),
        ("0 0 1 */3 *", "UTC", "At 00:00, on day 1 of the month, every 3 months, UTC"),
        ("0 0 * */7 *", "UTC", "At 00:00, only in January and August, UTC"),
        ("0 0 * * */3", "UTC", "At 00:00, only on Sunday, Wednesday, and Saturday, UTC"),
        ("0 0 * * 0-7", "UTC", "At 00:00, UTC"),
        ("0 0 * * 5-7", "UTC", "At 00:00, Friday through Sunday, UTC"),
        ("0  0 * * 7", "US/Eastern", "At 00:00, only on Sunday, US/Eastern time"),
        ("0 0 29 2 *", "UTC", "At 00:00, on day 29 of the month, only in February, UTC"),
    ],
)
def test_words_state_time_days_and_zone(expression: str, timezone: str, words: str) -> None:
    assert describe(parse(expression), timezone) == words


@pytest.mark.parametrize(
    ("refused", "suggested"),
    [
        *ALIASES.items(),
        (" @DAILY ", "0 0 * * *"),
        ("0 9 * * MON-FRI", "0 9 * * 1-5"),
        ("0 9 * * Friday", "0 9 * * 5"),
        ("0 0 ? * FRI-SUN", "0 0 * * 5-6,0"),
        ("0 0 1 jan,jul *", "0 0 1 1,7 *"),
        ("0 22-2 * * *", "0 22-23,0-2 * * *"),
        ("0 0 12 * * ?", "0 12 * * *"),
        ("0 0 12 * * ? 2027", "0 12 * * *"),
        ("* * * * *", "*/5 * * * *"),
        ("*/2 9 * * *", "*/5 9 * * *"),
    ],
)
def test_a_refused_expression_has_an_accepted_neighbour(refused: str, suggested: str) -> None:
    assert suggest_cron(refused) == suggested
    parse(suggested)


@pytest.mark.parametrize(
    "refused", ["", "@reboot", "every day", "0 0 1 * 1", "0 0 31 2 *", "0 0 L * *", "9" * 200]
)
def test_an_expression_without_a_close_neighbour_gets_no_suggestion(refused: str) -> None:
    assert suggest_cron(refused) is None


def test_a_suggestion_respects_the_smallest_interval() -> None:
    assert suggest_cron("* * * * *", min_interval_minutes=15) == "*/15 * * * *"


@pytest.mark.parametrize(
    ("refused", "suggested"),
    [
        ("europe/berlin", "Europe/Berlin"),
        ("Berlin", "Europe/Berlin"),
        ("america/new york", "America/New_York"),
        ("Europe/Berlln", "Europe/Berlin"),
        ("utc", "UTC"),
        ("Middle-earth/Shire", None),
        ("", None),
    ],
)
def test_a_refused_zone_has_a_known_neighbour(refused: str, suggested: str | None) -> None:
    assert suggest_timezone(refused) == suggested
    assert suggested is None or zones.load(suggested) is not None


def berlin(expression: str, after: datetime, count: int) -> list[SlotPreview]:
    zone = zones.load("Europe/Berlin")
    assert zone is not None
    cron = parse(expression)
    shown = preview(cron, zone, after, count)
    assert [slot.utc for slot in shown] == next_slots(cron, zone, after, count)
    assert all(slot.local.astimezone(UTC) == slot.utc for slot in shown)
    return shown


def test_a_skipped_wall_time_is_marked_on_the_slot_that_replaces_it() -> None:
    before, skipped, after = berlin("30 2 * * *", datetime(2027, 3, 27, tzinfo=UTC), 3)
    assert before.remark is None
    assert skipped.local.isoformat() == "2027-03-28T03:00:00+02:00"
    assert skipped.remark == (
        "clock goes forward by 1 h to 03:00 on 2027-03-28: its wall time is skipped,"
        " so it fires at once"
    )
    assert after.remark is None


def test_a_repeated_wall_time_is_marked_once() -> None:
    repeated, after = berlin("30 2 * * *", datetime(2027, 10, 31, tzinfo=UTC), 2)
    assert repeated.remark == "this wall time occurs twice: it fires the first time only"
    assert after.remark == "clock goes back by 1 h to 02:00 on 2027-10-31"


def test_elapsed_time_is_followed_across_a_repeated_hour() -> None:
    first, second, third = berlin("*/30 * * * *", datetime(2027, 10, 31, tzinfo=UTC), 3)
    assert first.remark is None
    assert second.local.isoformat() == "2027-10-31T02:00:00+01:00"
    assert second.remark == "clock goes back by 1 h to 02:00 on 2027-10-31"
    assert third.remark is None


def test_a_change_of_half_an_hour_is_given_in_minutes() -> None:
    zone = zones.load("Australia/Lord_Howe")
    assert zone is not None
    [slot] = preview(parse("0 12 * * *"), zone, datetime(2027, 4, 3, 12, tzinfo=UTC), 1)
    assert slot.remark == "clock goes back by 30 min to 01:30 on 2027-04-04"


EDGES = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 6)]


@pytest.mark.parametrize("position", range(5))
def test_a_range_across_the_end_is_suggested_as_two(position: int) -> None:
    lowest, highest = EDGES[position]
    ends = (lowest, lowest + 1, lowest + 4, highest - 1, highest)
    for low, high in product(ends, ends):
        fields = ["0", "0", "*", "*", "*"]
        fields[position] = f"{low}-{high}"
        suggested = suggest_cron(" ".join(fields), min_interval_minutes=1)
        assert suggested is not None
        cron = parse(suggested, min_interval_minutes=1)
        found = (cron.minute, cron.hour, cron.day, cron.month, cron.weekday)[position]
        whole = [*range(lowest, highest + 1)] * 2
        assert found == set(whole[low - lowest : whole.index(high, low - lowest) + 1])


@pytest.mark.parametrize("refused", ["70-10 0 * * *", "0 22-2/2 * * *", "60-59 0 * * *"])
def test_a_range_that_has_no_plain_meaning_is_not_turned_into_another(refused: str) -> None:
    assert suggest_cron(refused) is None


@pytest.mark.parametrize(
    ("refused", "suggested"),
    [
        ("* 9 * * *", "*/5 9 * * *"),
        ("* */2 * * *", "*/5 */2 * * *"),
        ("1,2 * * * *", None),
        ("1,2 */3 * * *", None),
        ("*/2,1 * * * *", None),
    ],
)
def test_an_interval_is_suggested_for_the_minutes_of_an_interval_only(
    refused: str, suggested: str | None
) -> None:
    assert suggest_cron(refused) == suggested


def test_a_long_text_is_no_typing_error() -> None:
    assert suggest_cron("0 9 * * mon".replace(" ", " " * 118, 1)) == "0 9 * * 1"
    assert suggest_cron("0 9 * * mon".replace(" ", " " * 119, 1)) is None


def test_of_several_places_of_one_name_the_one_of_the_shortest_path_is_meant() -> None:
    assert suggest_timezone("Louisville") == "America/Louisville"
    assert suggest_timezone("indianapolis") == "America/Indianapolis"


@pytest.mark.parametrize(
    ("expression", "remark"),
    [
        ("0 2 * * *", "this wall time occurs twice: it fires the first time only"),
        ("59 2 * * *", "this wall time occurs twice: it fires the first time only"),
        ("59 1 * * *", None),
        ("0 3 * * *", "clock goes back by 1 h to 02:00 on 2027-10-31"),
    ],
)
def test_only_the_wall_times_of_the_repeated_hour_occur_twice(
    expression: str, remark: str | None
) -> None:
    [slot] = berlin(expression, datetime(2027, 10, 30, 12, tzinfo=UTC), 1)
    assert slot.remark == remark


def test_a_slot_at_the_end_of_the_gap_is_not_one_that_was_skipped() -> None:
    [slot] = berlin("0 3 * * *", datetime(2027, 3, 27, 12, tzinfo=UTC), 1)
    assert slot.remark == "clock goes forward by 1 h to 03:00 on 2027-03-28"
    zone = zones.load("Australia/Lord_Howe")
    assert zone is not None
    [slot] = preview(parse("30 2 * * *"), zone, datetime(2027, 10, 2, 2, tzinfo=UTC), 1)
    assert slot.remark == "clock goes forward by 30 min to 02:30 on 2027-10-03"

"""What becomes of a due timer, without a database."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.rules import planning
from service.rules.cron import Cron
from service.rules.planning import (
    DueDecision,
    PlanningRules,
    SlotCache,
    UnplannableError,
    evaluate_due,
    is_slot,
    read,
    spread,
)
from service.rules.slots import next_slot, slots_between
from service.storage.runs.occurrences import Occurrence, occurrence_id, prioritised, slot_text
from service.storage.schedules.firing_state import ScheduleState
from service.storage.schedules.timers import Timer
from service.worker.timer_plan import TimerPlan, next_timer, plan_timer

SLOT = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
RULES = PlanningRules()
CRON = "*/5 * * * *"
SCHEDULE, INSTALL = UUID(int=1), UUID(int=2)


def at(seconds: float) -> datetime:
    return SLOT + timedelta(seconds=seconds)


def decision(seconds: float, cron: str = CRON, rules: PlanningRules = RULES) -> DueDecision:
    late = at(seconds) - SLOT > rules.late_after
    return evaluate_due(*read(cron, "UTC"), SLOT, at(seconds), rules, late=late)


@pytest.mark.parametrize("late", [0, 0.5, 30])
def test_slot_fires_while_it_is_not_late(late: float) -> None:
    assert decision(late) == DueDecision(SLOT, catchup=False, missed=0, following=at(300))


def test_late_slot_is_caught_up_with() -> None:
    assert decision(30.001) == DueDecision(SLOT, catchup=True, missed=0, following=at(300))


def test_slot_followed_by_a_later_due_slot_is_missed() -> None:
    assert decision(300) == DueDecision(at(300), catchup=True, missed=1, following=at(600))
    assert decision(1000) == DueDecision(at(900), catchup=True, missed=3, following=at(1200))


@pytest.mark.parametrize(("late", "fires"), [(3600, True), (3600.001, False), (86_399, False)])
def test_window_bounds_how_old_a_fired_slot_may_be(late: float, fires: bool) -> None:
    found = decision(late, "0 12 * * *")
    assert (found.slot is not None) is fires
    assert found.missed == (0 if fires else 1)
    assert found.following == SLOT + timedelta(days=1)


def test_window_of_zero_never_catches_up() -> None:
    never = PlanningRules(catchup_window=timedelta(0))
    assert decision(31, rules=never) == DueDecision(None, False, 1, at(300))
    assert decision(300, rules=never) == DueDecision(None, False, 2, at(600))
    assert decision(30, rules=never).slot == SLOT


@given(
    minutes=st.integers(0, 20_000),
    seconds=st.integers(0, 59),
    cron=st.sampled_from(["*/5 * * * *", "7 */3 * * *", "30 1 * * *", "0 0 1 * *", "15 9 * * 1-5"]),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "Australia/Lord_Howe", "America/Havana"]),
    window=st.integers(0, 48),
)
def test_every_slot_is_fired_or_counted(
    minutes: int, seconds: int, cron: str, zone: str, window: int
) -> None:
    pair = read(cron, zone)
    first = slots_between(*pair, SLOT, SLOT + timedelta(days=40))[0]
    now = first + timedelta(minutes=minutes, seconds=seconds)
    rules = PlanningRules(catchup_window=timedelta(hours=window))
    found = evaluate_due(*pair, first, now, rules, late=now - first > rules.late_after)
    passed = [first, *slots_between(*pair, first, now)]
    assert (found.slot is not None) + found.missed == len(passed)
    assert found.slot in (None, passed[-1])
    assert found.following > now
    assert slots_between(*pair, now, found.following) == [found.following]


def timer(**changes: object) -> Timer:
    values: dict[str, object] = {
        "tenant_id": "t",
        "schedule_id": SCHEDULE,
        "install_id": INSTALL,
        "cron": CRON,
        "timezone": "UTC",
        "due_at": SLOT,
        "missed": 0,
    }
    return Timer(**(values | changes))  # type: ignore[arg-type]  # checked by the tests that read it


def truth(
    cron: str | None = CRON, timezone: str | None = "UTC", fires: bool = True
) -> ScheduleState:
    return ScheduleState(INSTALL, cron, timezone, fires)


def planned(of: Timer, row: ScheduleState | None, seconds: float = 1) -> TimerPlan:
    return plan_timer(of, row, at(seconds), RULES, SlotCache())


def test_a_timer_without_schedule_is_dropped() -> None:
    assert planned(timer(), None) == TimerPlan(None)


@pytest.mark.parametrize(
    "row", [truth("0 0 * * *"), truth(timezone="Asia/Tokyo"), truth(fires=False)]
)
def test_changed_or_disabled_schedules_do_not_catch_up(row: ScheduleState) -> None:
    found = planned(timer(missed=3), row, 7200)
    assert found.occurrence is None
    assert found.missed == 0
    assert found.timer is not None
    assert found.timer.due_at > at(7200)
    assert found.timer.missed == 3
    assert (found.timer.cron, found.timer.timezone) == (row.cron, row.timezone)


def test_no_time_zone_means_utc() -> None:
    assert planned(timer(), truth(timezone=None)).occurrence is not None


@pytest.mark.parametrize(
    ("cron", "zone"),
    [
        (None, "UTC"),
        ("", "UTC"),
        ("* * *", "UTC"),
        (CRON, "Mars/Olympus"),
        (f"{'9' * 5_000} * * * *", "UTC"),
        (f"0-{'9' * 5_000} * * * *", "UTC"),
        (f"*/{'9' * 5_000} * * * *", "UTC"),
    ],
)
def test_invalid_rows_are_unplannable_with_a_reason(cron: str | None, zone: str) -> None:
    with pytest.raises(UnplannableError, match="Invalid"):
        planned(timer(), truth(cron, zone))


def test_more_frequent_than_allowed_today_still_fires() -> None:
    every_minute = timer(cron="* * * * *")
    assert planned(every_minute, truth("* * * * *")).occurrence is not None


def test_a_run_record_takes_the_missed_count_of_the_timer() -> None:
    found = planned(timer(missed=2), truth(), 301)
    assert found.occurrence is not None
    assert found.occurrence.missed == 3
    assert found.timer is not None
    assert next_timer(found, {found.timer.key}).missed == 0
    assert next_timer(found, set()).missed == 3


def test_rank_within_the_tenant_is_the_priority() -> None:
    def due(tenant_id: str) -> Occurrence:
        return Occurrence(tenant_id=tenant_id, install_id=INSTALL, schedule_id=uuid4(), slot=SLOT)

    occurrences = [due("a"), due("a"), due("b"), due("a"), due("b")]
    assert [each.priority for each in prioritised(occurrences)] == [0, -1, 0, -2, -1]


def test_spread_is_steady_and_covers_its_time() -> None:
    over = timedelta(seconds=30)
    shares = [spread(UUID(int=n), over) for n in range(1000)]
    assert shares == [spread(UUID(int=n), over) for n in range(1000)]
    assert timedelta(0) <= min(shares) < timedelta(seconds=3)
    assert timedelta(seconds=27) < max(shares) < over


def test_slot_cache_keeps_a_pair_until_its_slot_has_passed() -> None:
    slot_cache = SlotCache(size=2)
    assert slot_cache.following(CRON, "UTC", at(1)) == at(300)
    assert slot_cache.following(CRON, "UTC", at(299)) == at(300)
    assert slot_cache.following(CRON, "UTC", at(300)) == at(600)
    assert slot_cache.following(CRON, "UTC", at(-1)) == SLOT, "a clock that stepped back"
    for hour in range(10):
        assert slot_cache.following(f"0 {hour} * * *", None, SLOT).hour == hour
        judged = slot_cache.evaluate_due(f"0 {hour} * * *", "UTC", SLOT, at(1), RULES)
        assert judged.following.hour == hour


asked = st.tuples(
    st.sampled_from([CRON, "0 */2 * * *", "30 12 * * *"]),
    st.sampled_from(["UTC", None, "Asia/Kolkata", "Pacific/Apia"]),
    st.integers(-30, 400),
)


@given(questions=st.lists(asked, max_size=20), size=st.integers(1, 4))
def test_a_slot_cache_answers_as_if_nothing_were_kept(
    questions: list[tuple[str, str | None, int]], size: int
) -> None:
    kept = SlotCache(size=size)
    for cron, zone, seconds in questions:
        pair, now = read(cron, zone), at(seconds)
        assert kept.following(cron, zone, now) == next_slot(*pair, now)
        late = now - SLOT > RULES.late_after
        judged = kept.evaluate_due(cron, zone or "UTC", SLOT, now, RULES)
        assert judged == evaluate_due(*pair, SLOT, now, RULES, late=late)


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """The expressions that were read, one by one: an answer that is kept needs none."""
    found: list[str | None] = []

    def reading(cron: str | None, timezone: str | None) -> tuple[Cron, ZoneInfo]:
        found.append(cron)
        return read(cron, timezone)

    monkeypatch.setattr(planning, "read", reading)
    return found


Ask = Callable[[SlotCache, str, datetime], object]


@pytest.mark.parametrize(
    ("ask", "holds_for"),
    [
        (lambda cache, cron, now: cache.following(cron, "UTC", now), 299),
        (lambda cache, cron, now: cache.evaluate_due(cron, "UTC", SLOT, now, RULES), 0),
        (lambda cache, cron, now: cache.slot_of(cron, "UTC", now + timedelta(seconds=1)), 298),
    ],
)
def test_a_slot_cache_computes_once_what_it_has_room_for(
    ask: Ask, holds_for: int, computed: list[str | None]
) -> None:
    first, second, third = CRON, "*/10 * * * *", "*/15 * * * *"
    cache = SlotCache(size=2)
    for cron in (first, second, first, second):
        for seconds in (0, holds_for):
            ask(cache, cron, at(seconds))
    assert computed == [first, second]
    ask(cache, first, at(300))
    assert computed == [first, second, first], "its time has passed"
    fuller = SlotCache(size=2)
    for cron in (first, second, third, third, first):
        ask(fuller, cron, at(0))
    assert computed[3:] == [first, second, third, first], "no room for a third: all are dropped"


def test_the_slots_around_an_instant_are_kept_from_the_slot_on(computed: list[str | None]) -> None:
    cache = SlotCache(spread=timedelta(minutes=1))
    for seconds in (0, 0, 299, 0):
        assert cache.slot_of(CRON, "UTC", at(seconds)) == SLOT
    assert computed == [CRON]


def test_occurrence_ids_are_stable() -> None:
    assert slot_text(SLOT) == "2026-03-02T12:00:00Z"
    assert str(occurrence_id(SCHEDULE, SLOT, "scheduled")) == "ca32f9d2-cb4c-5e4f-9da6-55a8a40f3e9e"
    assert occurrence_id(SCHEDULE, SLOT, "manual") != occurrence_id(SCHEDULE, SLOT, "scheduled")


@pytest.mark.parametrize(
    ("cron", "zone", "minute", "fires"),
    [
        ("0 13 * * *", "Europe/Berlin", 0, True),
        ("0 12 * * *", "Europe/Berlin", 0, False),
        ("*/5 * * * *", "UTC", 1, False),
        ("*/5 * * * *", "UTC", -1, False),
        ("* * * * *", "UTC", 1, True),
        ("nonsense", "UTC", 0, False),
        ("0 12 * * *", "Mars/Olympus", 0, False),
    ],
)
def test_an_instant_is_a_slot_where_the_pair_fires_then(
    cron: str, zone: str, minute: int, fires: bool
) -> None:
    assert is_slot(cron, zone, at(60 * minute)) is fires
    assert is_slot(cron, zone, at(60 * minute + 1)) is False


def test_a_stored_expression_of_up_to_a_million_characters_is_read() -> None:
    longest = "0 12 * *".ljust(999_999) + "*"
    assert next_slot(*read(longest, "UTC"), SLOT) == SLOT + timedelta(days=1)
    with pytest.raises(UnplannableError, match="too long"):
        read("0" + longest, "UTC")

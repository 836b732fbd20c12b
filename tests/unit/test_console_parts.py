"""What the console computes without a bus: texts, times, tables, charts, sessions, live pages."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from console import charts, durations, tables, times
from console.bus import BusReads
from console.live import LiveFeed, may_see
from console.people import READ, WRITE, Person
from console.sessions import SESSION_LIFETIME_S, Sessions, csrf_token, is_csrf_token
from console.text import counted, cut, finalize, short, visible, visible_lines
from contracts.admin_cron import PreviewCronInput, PreviewCronOutput
from contracts.errors import Code, ServiceError
from contracts.events import Event, EventType
from contracts.schedules import UpdateOutput

NOW = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
ADA = Person(name="ada", tenant="*", permissions=(READ, WRITE))
BEN = Person(name="ben", tenant="acme", permissions=(READ,))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("täglich 日本", "täglich 日本"),
        ("a\u202eb", "a⟨U+202E⟩b"),
        ("\u2066x\u2069\u200b\ufeff", "⟨U+2066⟩x⟨U+2069⟩⟨U+200B⟩⟨U+FEFF⟩"),
        ("tab\tnul\0", "tab⟨U+0009⟩nul⟨U+0000⟩"),
        ("\ud800", "⟨U+D800⟩"),
    ],
)
def test_characters_that_hide_or_reorder_are_shown_as_code_points(text: str, shown: str) -> None:
    assert visible(text) == shown
    assert finalize(text) == shown
    assert visible_lines(f"{text}\n").endswith("\n")


@given(st.text(max_size=300))
def test_no_text_becomes_markup_or_invisible(text: str) -> None:
    for markup in (cut(text), short(text)):
        plain = Markup(markup).striptags()
        assert "<script" not in markup.lower()
        assert plain.isprintable() or not plain


def test_one_thing_is_no_plural() -> None:
    assert [counted(count, "slot") for count in (0, 1, 2)] == ["0 slots", "1 slot", "2 slots"]


def test_long_texts_are_cut_and_whole_on_demand() -> None:
    assert cut("x" * 80) == f"<bdi>{'x' * 80}</bdi>"
    assert cut("x" * 81).count("x") == 161
    assert short("x" * 81, 10) == f"<bdi>{'x' * 10}…</bdi>"
    assert (cut(None), finalize(None), finalize(3)) == ("", "", 3)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "now"),
        (5, "in 5 s"),
        (-90, "1 min ago"),
        (3_600, "in 1 h"),
        (-200_000, "2 d ago"),
    ],
)
def test_instants_are_told_from_now(seconds: int, text: str) -> None:
    assert times.relative(NOW + timedelta(seconds=seconds), NOW) == text


def test_instants_are_on_the_viewers_clock_with_utc_as_title() -> None:
    shown = times.instant("2026-03-29T00:30:00.000Z", BERLIN, NOW)
    assert shown == (
        '<time datetime="2026-03-29T00:30:00.000Z" title="2026-03-29 00:30:00 UTC">01:30:00</time>'
    )
    assert "2026-03-28 01:30:00<" in times.instant("2026-03-28T00:30:00Z", BERLIN, NOW)
    assert "none" in times.instant(None, BERLIN, NOW)
    assert times.zone_of("Europe/Berlin") == BERLIN
    for name in (None, "", "Nowhere/Here", "../../etc/passwd", "x" * 100, "\0"):
        assert times.zone_of(name).key == "UTC"


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0, "0 ms"), (999, "999 ms"), (1_500, "1.5 s"), (120_000, "2 min")],
)
def test_milliseconds_are_in_a_unit_that_reads_well(value: int | None, text: str) -> None:
    assert times.milliseconds(value) == text


def test_a_table_as_csv_starts_no_formula() -> None:
    rows: list[Any] = [UpdateOutput(success=True, error=text) for text in ("=1+1", "a,b", "@x")]
    text = tables.write_csv(tables.attributes("error", "field_errors"), rows)
    assert text.splitlines() == ["error,fieldErrors", "'=1+1,", '"a,b",', "'@x,"]


def test_bars_are_stacked_to_the_highest() -> None:
    at = charts.minutes(NOW + timedelta(seconds=59), 3)
    assert [minute.minute for minute in at] == [30, 31, 32]
    chart = charts.stacked_bars(at, {at[0]: {"a": 1, "b": 3}, at[2]: {"b": 2}}, ("a", "b"))
    assert (chart.total, chart.top) == (6, 4)
    low, high = chart.bars[0].segments
    assert (low.kind, low.height, low.y + low.height) == ("a", 30.0, 120.0)
    assert (high.kind, high.height, high.y) == ("b", 90.0, 0.0)
    assert [len(bar.segments) for bar in chart.bars] == [2, 0, 1]
    assert charts.stacked_bars([], {}, ("a",)).total == 0


def test_durations_are_as_high_as_they_took_and_never_invisible() -> None:
    chart = durations.duration_bars([("1", "s", "success", 100), ("2", "s", "error", None)])
    assert [bar.height for bar in chart.bars] == [120.0, durations.MIN_BAR]
    assert durations.duration_bars([("1", "s", "queued", None)]).top_ms == 0


def test_a_session_ends_after_eight_hours_or_when_revoked() -> None:
    now = 0.0
    sessions = Sessions(lambda: now)
    first, second = sessions.open(ADA), sessions.open(BEN)
    found = sessions.find(first)
    assert found is not None
    assert found.person == ADA
    assert sessions.find("guess") is sessions.find(None) is sessions.find("") is None
    assert [session.person for session in sessions.of(BEN)] == [BEN]
    assert len(sessions.of(ADA)) == 2
    sessions.revoke(found.id)
    assert sessions.find(first) is None
    now = SESSION_LIFETIME_S - 1.0
    assert sessions.find(second)
    now += 1
    assert sessions.find(second) is None


def test_the_token_of_a_form_is_for_one_secret_person_and_session() -> None:
    token = csrf_token(b"secret", ADA, "1")
    assert is_csrf_token(token, csrf_token(b"secret", ADA, "1"))
    for other in (
        csrf_token(b"other", ADA, "1"),
        csrf_token(b"secret", BEN, "1"),
        csrf_token(b"secret", ADA, "2"),
        "",
        "é",
    ):
        assert not is_csrf_token(other, token)


def an_event(tenant_id: str) -> Event:
    return Event(
        id="1", type=EventType.RUN_FAILED, tenant_id=tenant_id, install_id="2", at="x", data={}
    )


def test_pages_hear_of_their_own_tenant_alone() -> None:
    feed = LiveFeed()
    with feed.watching(ADA) as all_tenants, feed.watching(BEN) as own:
        feed.receive(msgspec.json.encode(an_event("zeta")))
        assert (all_tenants.changed.is_set(), own.changed.is_set()) == (True, False)
        feed.receive(msgspec.json.encode(an_event("acme")))
        feed.receive(b"no event")
        assert own.changed.is_set()
    assert [event.tenant_id for event in feed.recent(ADA)] == ["acme", "zeta"]
    assert [event.tenant_id for event in feed.recent(BEN)] == ["acme"]
    assert not may_see(BEN, an_event("acme2"))


class Bus:
    """A bus that counts questions, and can be away."""

    def __init__(self) -> None:
        self.asked: list[Person] = []
        self.away = False
        self.now = 1_000.0

    async def __call__(self, person: Person, op: str, fields: msgspec.Struct) -> msgspec.Struct:
        del op, fields
        self.asked.append(person)
        if self.away:
            raise ServiceError(Code.UNAVAILABLE, "away")
        return PreviewCronOutput(slots=[str(len(self.asked))])


async def read(reads: BusReads, person: Person, cron: str = "x") -> tuple[str, float | None]:
    fields = PreviewCronInput(cron=cron)
    output, since = await reads.read(person, "previewCron", fields, PreviewCronOutput)
    return output.slots[0], since


async def test_reads_are_shared_for_a_second_by_those_who_may_see_the_same() -> None:
    bus = Bus()
    reads = BusReads(bus, lambda: bus.now)
    eve = Person(name="eve", tenant="acme", permissions=(READ,))
    assert await read(reads, BEN) == await read(reads, eve) == ("1", None)
    assert await read(reads, ADA) == ("2", None)
    assert await read(reads, BEN, "y") == ("3", None)
    bus.now += 1
    assert await read(reads, BEN) == ("4", None)
    await reads.change(ADA, "previewCron", PreviewCronInput(cron="z"), PreviewCronOutput)  # type: ignore[type-var]  # any operation
    assert await read(reads, BEN) == ("6", None)


async def test_what_was_last_known_is_shown_while_the_bus_is_away() -> None:
    bus = Bus()
    reads = BusReads(bus, lambda: bus.now)
    await read(reads, BEN)
    bus.away, bus.now = True, 1_010.0
    assert await read(reads, BEN) == ("1", 1_000.0)
    with pytest.raises(ServiceError, match="UNAVAILABLE"):
        await read(reads, ADA)
    assert len(bus.asked) == 2  # nobody waits for an answer that another has just not got
    bus.away, bus.now = False, 1_013.0
    assert await read(reads, BEN) == ("3", None)

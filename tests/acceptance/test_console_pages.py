"""The pages of the console without JavaScript: what they show, and what their forms do."""

import csv
import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import asyncpg
import msgspec
import pytest
from yarl import URL

from service.rules.call_ids import request_id, trace_id
from tests.support import schedule_rows
from tests.support.console_stack import ADA, Page, Visitor, add_run, running_console, visitor
from tests.support.eventually import eventually
from tests.support.platform import TICK, Installed, install

HOSTILE = "<script>alert(1)</script>\u202e\x07" + "long " * 100


@pytest.fixture
async def ada(tmp_path: Path, database: str) -> AsyncIterator[Visitor]:
    """Yield an operator who is signed in."""
    settings = {"console_trace_url": "https://traces.example/trace/{trace}?run"}
    async with (
        running_console(tmp_path, database, **settings) as stack,
        visitor(stack.url) as browser,
    ):
        await browser.sign_in(ADA)
        yield browser


async def renamed(connection: asyncpg.Connection, schedule_id: UUID, name: str) -> None:
    await connection.execute(
        "UPDATE tenant_extension_schedule SET name = $2 WHERE id = $1", schedule_id, name
    )


def this_minute() -> datetime:
    return datetime.now(UTC).replace(second=0, microsecond=0)


async def a_schedule(connection: asyncpg.Connection) -> tuple[Installed, UUID]:
    made = await install(connection, tenant_id="acme", materialised=TICK)
    soon = this_minute() + timedelta(minutes=5)
    id_ = await schedule_rows.schedule(connection, made, payload={"a": 1}, due_at=soon)
    await renamed(connection, id_, "nightly")
    return made, id_


async def test_now_shows_what_is_due_what_ran_and_what_fails(
    ada: Visitor, connection: asyncpg.Connection
) -> None:
    empty = await ada.get("/")
    assert "No worker is up: nothing fires." in empty.words
    assert "No schedule fails." in empty.words
    made = await install(connection, tenant_id="acme", materialised=TICK)
    # In the middle between two slots: a minute that turns meanwhile changes nothing.
    first = this_minute() + timedelta(minutes=3)
    cron = f"{first.minute % 5}-59/5 * * * *"
    id_ = await schedule_rows.schedule(connection, made, cron=cron, due_at=first)
    run_id = await add_run(connection, made, id_, this_minute(), "error", "the mail server is away")

    async def shown() -> Page | None:
        page = await ada.get("/")
        seen = "Runs of the last hour: 1" in page.words and f"/runs/{run_id}" in page.text
        return page if seen else None

    page = await eventually(shown)
    assert "Due in the coming hour: 12" in page.words
    assert "Responders up 1" in page.words


async def test_a_person_finds_out_why_a_paused_tenants_schedule_did_not_run(
    ada: Visitor, connection: asyncpg.Connection
) -> None:
    _, id_ = await a_schedule(connection)
    await connection.execute(
        "INSERT INTO ext_scheduler.tenant_pauses (tenant_id, paused_at, paused_by, reason)"
        " VALUES ('acme', now(), 'ben', 'unpaid')"
    )
    listed = await ada.get("/schedules")
    assert "held: tenant paused" in listed.words
    assert f'href="/schedules/{id_}"' in listed.text
    page = await ada.get(f"/schedules/{id_}")
    assert "ben" in page.words
    assert "unpaid" in page.words
    asked = await ada.get(f"/schedules/{id_}?at=02:30")
    assert "About the slot" in asked.words
    wrong = await ada.get(f"/schedules/{id_}?at=when")
    assert (wrong.status, "Not an instant" in wrong.words) == (200, True)


async def test_a_history_shows_slots_without_a_run(
    ada: Visitor, connection: asyncpg.Connection
) -> None:
    made, id_ = await a_schedule(connection)
    await connection.execute(
        "UPDATE tenant_extension_schedule SET created_at = now() - interval '1 day'"
    )
    slot = this_minute().replace(minute=0) - timedelta(minutes=30)
    for minutes in (0, 10):  # of every five
        await add_run(connection, made, id_, slot + timedelta(minutes=minutes))
    page = await ada.get(f"/schedules/{id_}")
    gap = f"{slot + timedelta(minutes=5):%Y-%m-%dT%H:%M:00.000Z}"
    assert f"?at={gap.replace(':', '%3A')}#why" in page.text
    assert "Durations of the last 2 runs" in page.text


async def test_a_run_shows_its_phases_and_is_run_again(
    ada: Visitor, connection: asyncpg.Connection
) -> None:
    made, id_ = await a_schedule(connection)
    run_id = await add_run(connection, made, id_, this_minute(), "error", "line 1\nline 2\u202e")
    page = await ada.get(f"/runs/{run_id}")
    assert "line 1\nline 2⟨U+202E⟩" in page.text
    assert "Attempt 1: called to answered" in page.words
    assert f"Request id {request_id(run_id, 0)} , in the logs" in page.words
    trace = f"{trace_id(run_id):032x}"
    assert f'href="https://traces.example/trace/{trace}?run"' in page.text
    again = await ada.submit(f"/runs/{run_id}", f"/schedules/{id_}/run")
    assert again.status == 303
    queued = await ada.get(again.headers["Location"])
    assert (queued.status, "run now" in queued.words) == (200, True)
    audited = await connection.fetchrow("SELECT actor, op FROM ext_scheduler.audit")
    assert audited is not None
    assert tuple(audited) == ("operator/ada", "runNow")
    assert (await ada.get("/runs?status=queued")).words.count("run now") == 1
    missing = await ada.get(f"/runs/{made.install_id}")
    assert (missing.status, "Request id:" in missing.words) == (404, True)


async def test_a_schedule_is_paused_edited_and_deleted_by_name(
    ada: Visitor, connection: asyncpg.Connection
) -> None:
    _, id_ = await a_schedule(connection)
    home = f"/schedules/{id_}"
    await ada.submit(home, f"{home}/enabled", {"enabled": "no", "reason": "too loud"})
    page = await ada.get(home)
    assert "Resume" in page.words
    assert "The schedule is disabled: too loud" in page.words
    await ada.submit(home, f"{home}/enabled", {"enabled": "yes"})
    edit = await ada.get(f"{home}/edit")
    form = {
        "csrf": edit.csrf,
        "name": "weekly",
        "endpoint": "POST /api/tick",
        "cron": "0 4 * * 1",
        "timezone": "Europe/Berlin",
        "payload": '{"b": [2]}',
        "revision": "3",
    }
    previewed = await ada.post(f"{home}/edit", {**form, "action": "preview"})
    assert "Monday" in previewed.words
    wrong = await ada.post(f"{home}/edit", {**form, "payload": "{", "action": "save"})
    assert (wrong.status, "Not JSON" in wrong.words) == (400, True)
    wrong = await ada.post(f"{home}/edit", {**form, "cron": "* * *", "action": "save"})
    assert (wrong.status, "error-cron" in wrong.text) == (400, True)
    saved = await ada.post(f"{home}/edit", {**form, "action": "save"})
    assert saved.status == 303, saved.words
    row = await connection.fetchrow(
        "SELECT name, cron, timezone, payload_json FROM tenant_extension_schedule"
    )
    assert row is not None
    assert tuple(row) == ("weekly", "0 4 * * 1", "Europe/Berlin", '{"b": [2]}')
    stale = await ada.post(f"{home}/edit", {**form, "name": "again", "action": "save"})
    assert stale.status == 400
    assert "Not saved: somebody has changed the schedule since you opened this form" in stale.words
    assert "It is now: weekly" in stale.words
    assert 'name="revision" value="4"' in stale.text
    again = {**form, "name": "again", "revision": "4", "action": "save"}
    assert (await ada.post(f"{home}/edit", again)).status == 303
    kept = await ada.submit(home, f"{home}/delete", {"confirm": "nightly"})
    assert kept.status == 400
    assert (await ada.submit(home, f"{home}/delete", {"confirm": "again"})).status == 303
    assert await connection.fetchval("SELECT count(*) FROM tenant_extension_schedule") == 0
    actors = await connection.fetch("SELECT DISTINCT actor FROM ext_scheduler.audit")
    assert [row["actor"] for row in actors] == ["operator/ada"]


async def test_chosen_schedules_are_disabled_together(
    ada: Visitor, connection: asyncpg.Connection
) -> None:
    made, first = await a_schedule(connection)
    second = await schedule_rows.schedule(connection, made)
    third = await schedule_rows.schedule(connection, made)
    csrf = (await ada.get("/schedules")).csrf
    form = [("csrf", csrf), ("action", "disable"), ("chosen", str(first)), ("chosen", str(second))]
    assert (await ada.post("/schedules", form)).status == 303
    rows = await connection.fetch("SELECT id FROM tenant_extension_schedule WHERE enabled")
    assert [row["id"] for row in rows] == [third]
    nothing_chosen = await ada.post("/schedules", form[:2])
    assert (nothing_chosen.status, "Choose schedules" in nothing_chosen.words) == (400, True)


async def test_times_are_on_the_clock_of_the_browser(
    ada: Visitor, connection: asyncpg.Connection
) -> None:
    _, id_ = await a_schedule(connection)
    assert "Times in UTC" in (await ada.get("/")).words
    ada.session.cookie_jar.update_cookies({"timezone": "Asia%2FKolkata"}, URL(ada.url))
    page = await ada.get(f"/schedules/{id_}")
    assert "Times in Asia/Kolkata" in page.words
    assert "In yours (Asia/Kolkata)" in page.words


async def test_hostile_texts_are_shown_as_what_they_are(
    ada: Visitor, connection: asyncpg.Connection
) -> None:
    made, id_ = await a_schedule(connection)
    await renamed(connection, id_, HOSTILE[:120])
    await add_run(connection, made, id_, this_minute(), "error", HOSTILE)
    for path in ("/", "/schedules", f"/schedules/{id_}", f"/schedules/{id_}/edit", "/runs"):
        page = await ada.get(path)
        assert page.status == 200
        assert "<script>alert" not in page.text
        assert not {"\u202e", "\x07"} & set(page.text)
    page = await ada.get("/schedules?text=script")
    assert "1 run: 0 succeeded, 1 failed" in page.text
    assert (await ada.get("/schedules?text=nothing")).words.count("No schedule fits") == 1
    assert "&lt;script&gt;alert(1)&lt;/script&gt;⟨U+202E⟩" in page.text


async def test_tables_are_pages_that_can_be_shared_and_files(
    ada: Visitor, connection: asyncpg.Connection
) -> None:
    made, first = await a_schedule(connection)
    await renamed(connection, first, "=cmd()")
    for _ in range(60):
        await schedule_rows.schedule(connection, made)
    document = msgspec.json.decode((await ada.get("/schedules?as=json&tenant=acme")).text)
    assert (len(document["rows"]), "payload" in document["rows"][0]) == (50, False)
    rest = msgspec.json.decode((await ada.get(document["next"])).text)
    assert (len(rest["rows"]), rest["next"]) == (11, None)
    ids = {row["id"] for row in document["rows"] + rest["rows"]}
    assert len(ids) == 61
    names = set()
    for path in ("/schedules?as=csv", document["next"].replace("as=json", "as=csv")):
        table = await ada.get(path)
        assert table.headers["Content-Type"].startswith("text/csv")
        names |= {row["name"] for row in csv.DictReader(io.StringIO(table.text))}
    assert names == {"'=cmd()", ""}

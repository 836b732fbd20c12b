"""Who may enter the console, as whom, and what every answer carries."""

import re
import time
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from console.links import sign_link
from console.people import READ, WRITE, Person
from tests.support import schedule_rows
from tests.support.console_stack import (
    ADA,
    ConsoleStack,
    Visitor,
    running_console,
    visitor,
)
from tests.support.keys import OPERATOR_KEY, PLATFORM_KEY, RUNNER_KEY
from tests.support.platform import TICK, install

READER = Person(name="rita", tenant="acme", permissions=(READ,))


@pytest.fixture
async def console(tmp_path: Path, database: str) -> AsyncIterator[ConsoleStack]:
    async with running_console(tmp_path, database) as stack:
        yield stack


@pytest.fixture
async def anyone(console: ConsoleStack) -> AsyncIterator[Visitor]:
    async with visitor(console.url) as browser:
        yield browser


def token_of(person: Person, key: object, at: float) -> str:
    return sign_link("http://x", person, key, at).partition("link=")[2]  # type: ignore[arg-type]  # a Key


async def test_a_link_signs_in_once_and_the_cookie_is_for_this_host_alone(anyone: Visitor) -> None:
    closed = await anyone.get("/schedules")
    assert (closed.status, closed.headers["Location"]) == (303, "/sign-in")
    token = token_of(ADA, OPERATOR_KEY, time.time())
    shown = await anyone.get(f"/sign-in?link={token}")
    assert "As ada , for all tenants" in shown.words
    assert (await anyone.get("/")).status == 303  # looking at the link does not use it up
    entered = await anyone.post("/sign-in", {"link": token})
    cookie = entered.headers["Set-Cookie"]
    assert (entered.status, entered.headers["Location"]) == (303, "/")
    assert {"HttpOnly", "SameSite=Strict", "Max-Age=28800", "Path=/"} <= set(cookie.split("; "))
    assert (await anyone.get("/")).status == 200
    again = await anyone.post("/sign-in", {"link": token})
    assert (again.status, "used already" in again.words) == (403, True)


@pytest.mark.parametrize(
    ("person", "key", "age_s"),
    [
        (ADA, OPERATOR_KEY, 60),  # expired
        (ADA, OPERATOR_KEY, -60),  # of the future
        (ADA, PLATFORM_KEY, 0),  # all tenants with a key that is for one
        (READER, RUNNER_KEY, 0),  # a key for something else
    ],
)
async def test_a_link_that_is_not_valid_signs_nobody_in(
    anyone: Visitor, person: Person, key: object, age_s: float
) -> None:
    refused = await anyone.post("/sign-in", {"link": token_of(person, key, time.time() - age_s)})
    assert (refused.status, "Set-Cookie" in refused.headers) == (403, False)
    assert (await anyone.get("/")).status == 303


async def test_every_answer_is_private_and_loads_nothing_from_elsewhere(anyone: Visitor) -> None:
    await anyone.sign_in()
    for path in ("/", "/schedules", "/runs", "/sessions", "/nothing", "/schedules?as=json"):
        page = await anyone.get(path)
        policy = page.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert page.headers["Cache-Control"] == "no-store"
        assert page.headers["X-Content-Type-Options"] == "nosniff"
        assert not re.search(r"<style|style=|<script>|onclick|javascript:|https?://", page.text)


async def test_a_person_of_one_tenant_sees_that_tenant_and_no_buttons(
    anyone: Visitor, connection: asyncpg.Connection
) -> None:
    mine = await install(connection, tenant_id="acme", materialised=TICK)
    other = await install(connection, tenant_id="zeta", materialised=TICK)
    own = await schedule_rows.schedule(connection, mine, payload={"secret": 1})
    foreign = await schedule_rows.schedule(connection, other)
    await anyone.sign_in(READER, PLATFORM_KEY)
    listed = await anyone.get("/schedules")
    assert (str(own) in listed.text, str(foreign) in listed.text) == (True, False)
    assert (await anyone.get(f"/schedules/{foreign}")).status == 404
    shown = await anyone.get(f"/schedules/{own}")
    assert shown.status == 200
    assert 'method="post"' not in listed.text + shown.text
    assert "secret" not in shown.text
    assert "secret" not in (await anyone.get("/schedules?as=json")).text
    forced = await anyone.post(f"/schedules/{own}/run", {"csrf": "x"})
    assert (forced.status, "DENIED" in forced.words) == (403, True)


async def test_a_form_of_another_session_changes_nothing(
    console: ConsoleStack, anyone: Visitor, connection: asyncpg.Connection
) -> None:
    made = await install(connection, materialised=TICK)
    id_ = await schedule_rows.schedule(connection, made)
    await anyone.sign_in()
    async with visitor(console.url) as other:
        await other.sign_in()
        foreign = (await other.get("/sessions")).csrf
    for form in ({}, {"csrf": ""}, {"csrf": foreign}, {"csrf": "é"}):
        refused = await anyone.post(f"/schedules/{id_}/enabled", {**form, "enabled": "no"})
        assert (refused.status, "open the page again" in refused.words) == (403, True)
    assert await connection.fetchval("SELECT enabled FROM tenant_extension_schedule")


async def test_a_session_ends_by_signing_out_and_by_being_revoked(
    console: ConsoleStack, anyone: Visitor
) -> None:
    await anyone.sign_in()
    async with visitor(console.url) as reader, visitor(console.url) as second:
        await reader.sign_in(READER, PLATFORM_KEY)
        await second.sign_in(Person(name="sam", tenant="acme", permissions=(READ, WRITE)))
        seen = (await second.get("/sessions")).words
        assert ("sam" in seen, "rita" in seen, "ada" in seen) == (True, False, False)
        everyone = await anyone.get("/sessions")
        row = re.search(r"rita.*?name=\"session\" value=\"(\w+)\"", everyone.text, re.DOTALL)
        assert row is not None
        stolen = {"csrf": (await second.get("/sessions")).csrf, "session": row[1]}
        assert (await second.post("/sessions", stolen)).status == 404
        revoked = await anyone.post("/sessions", {"csrf": everyone.csrf, "session": row[1]})
        assert revoked.status == 303
        assert (await reader.get("/")).status == 303
        assert (await second.get("/")).status == 200
    await anyone.submit("/sessions", "/sign-out")
    assert (await anyone.get("/")).status == 303

"""The console and its bus: what is live, what an outage shows, what open pages cost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest

from console.people import READ, Person
from tests.support import schedule_rows
from tests.support.console_stack import (
    ADA,
    ConsoleStack,
    Visitor,
    publish,
    running_console,
    visitor,
)
from tests.support.eventually import eventually
from tests.support.keys import PLATFORM_KEY
from tests.support.platform import TICK, install

PAGES = 20
RITA = Person(name="rita", tenant="zeta", permissions=(READ,))


@pytest.fixture
async def console(tmp_path: Path, database: str) -> AsyncIterator[ConsoleStack]:
    async with running_console(tmp_path, database) as stack:
        yield stack


@pytest.fixture
async def ada(console: ConsoleStack) -> AsyncIterator[Visitor]:
    async with visitor(console.url) as browser:
        await browser.sign_in(ADA)
        yield browser


async def told(stream: aiohttp.ClientResponse) -> str:
    """Return the next event of a stream."""
    while line := (await stream.content.readline()).decode():
        if line.startswith("event: "):
            return line.removeprefix("event: ").strip()
    raise AssertionError("the stream ended")


async def subscriptions(console: ConsoleStack) -> int:
    """Return how many subscriptions the console's connection has."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{console.nats.monitoring_url}/connz?auth=1") as response,
    ):
        connections: list[dict[str, Any]] = (await response.json())["connections"]
    (count,) = [row["subscriptions"] for row in connections if row["authorized_user"] == "console"]
    return int(count)


async def test_open_pages_are_told_of_events_and_share_one_subscription(
    console: ConsoleStack, ada: Visitor
) -> None:
    await ada.get("/")
    before = await subscriptions(console)
    async with AsyncExitStack() as stack:
        streams = [
            await stack.enter_async_context(ada.session.get(f"{console.url}/live"))
            for _ in range(PAGES)
        ]
        assert streams[0].headers["Content-Type"] == "text/event-stream"
        assert await subscriptions(console) == before
        await publish(console, "acme")
        assert await asyncio.gather(*map(told, streams)) == ["changed"] * PAGES


async def test_a_stream_ends_with_its_session(console: ConsoleStack, ada: Visitor) -> None:
    async with ada.session.get(f"{console.url}/live") as stream:
        await ada.submit("/sessions", "/sign-out")
        rest = await stream.content.read()
        assert rest.endswith(b"\n\n")
    async with ada.session.get(f"{console.url}/live") as refused:
        assert refused.status == 401


async def test_an_outage_of_the_bus_shows_what_was_known_and_ends_by_itself(
    console: ConsoleStack, ada: Visitor, connection: asyncpg.Connection
) -> None:
    made = await install(connection, tenant_id="acme", materialised=TICK)
    id_ = await schedule_rows.schedule(connection, made)
    for path in ("/", "/schedules"):
        assert (await ada.get(path)).status == 200
    await asyncio.to_thread(console.nats.server.stop)

    async def is_known() -> bool:
        page = await ada.get("/schedules")
        assert page.status == 200
        return "The bus is away. This is what was last known" in page.words

    await eventually(is_known)
    assert str(id_) in (await ada.get("/schedules")).text
    unknown = await ada.get(f"/schedules/{id_}")
    assert (unknown.status, "Request id:" in unknown.words) == (503, True)
    refused = await ada.submit("/sessions", f"/schedules/{id_}/run")
    assert refused.status == 503
    async with aiohttp.ClientSession() as session, session.get(f"{console.health}/readyz") as probe:
        assert probe.status == 503
    await asyncio.to_thread(console.nats.server.start)

    async def is_back() -> bool:
        page = await ada.get("/schedules")
        return page.status == 200 and "The bus is away" not in page.words

    await eventually(is_back)


async def test_a_proxy_signs_people_in_by_its_table_alone(tmp_path: Path, database: str) -> None:
    users = tmp_path / "users.toml"
    users.write_text('[users.ada]\ntenant = "*"\npermissions = ["extension:read"]\n')
    settings = {
        "console_user_header": "X-Forwarded-User",
        "console_proxies": "127.0.0.1",
        "console_users_file": str(users),
    }
    async with (
        running_console(tmp_path, database, **settings) as stack,
        visitor(stack.url) as browser,
    ):
        assert (await browser.get("/")).status == 303
        as_ada = {"X-Forwarded-User": "ada"}
        assert "all tenants" in (await browser.get("/", headers=as_ada)).words
        assert (await browser.get("/", headers={"X-Forwarded-User": "eve"})).status == 303
        await browser.sign_in(ADA)
        assert (await browser.get("/")).status == 303  # links are not for this console
        users.write_text('[users.eve]\ntenant = "zeta"\n')

        async def follows_the_file() -> bool:
            eve = await browser.get("/", headers={"X-Forwarded-User": "eve"})
            return eve.status == 200 and "zeta" in eve.words

        await eventually(follows_the_file)
        assert (await browser.get("/", headers=as_ada)).status == 303


async def test_a_person_sees_figures_of_the_own_tenant(
    console: ConsoleStack, connection: asyncpg.Connection
) -> None:
    await install(connection, tenant_id="acme", materialised=TICK)
    async with visitor(console.url) as browser:
        await browser.sign_in(RITA, PLATFORM_KEY)
        page = await browser.get("/")
        assert (page.status, "Responders" in page.words, "acme" in page.text) == (200, False, False)
        assert "acme" not in (await browser.get("/tenants")).text
        assert "acme" not in (await browser.get("/installs")).text

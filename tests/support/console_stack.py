"""A console and a responder, as processes on the shipped ``nats.conf``, and a browser."""

import re
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from html import unescape
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import msgspec
from msgspec import Struct

from console.links import sign_link
from console.people import PERMISSIONS, Person, normalised
from contracts.context import Key, key_set_document
from contracts.events import Event, EventType
from contracts.subjects import event_subject
from devstack.embedded import Nats, embedded_nats
from devstack.embedded.servers import free_port
from devstack.processes import Program, running
from service.storage.engine.connection import Connection
from tests.support.keys import OPERATOR_JWK, OPERATOR_KEY, write_key_set
from tests.support.platform import Installed
from tests.support.responders import PATIENT, responders
from tests.support.shipped_nats import CONFIG, ENVIRONMENT, PASSWORDS, connected

HTML = {"Accept": "text/html"}
RUN = """
INSERT INTO ext_scheduler.runs (tenant_id, id, install_id, schedule_id, slot, kind, trigger, status,
  attempts, queued_at, started_at, finished_at, duration_ms, error, worker)
VALUES ($1, gen_random_uuid(), $2, $3, $4, 'scheduled', 'schedule', $5, 1, $4, $4, $4, 120, $6, 'w')
RETURNING id
"""
ADA = Person(name="ada", tenant="*", permissions=normalised(PERMISSIONS))


class Page(Struct, frozen=True):
    """An answer of the console: its status, headers and text."""

    status: int
    headers: Any
    text: str

    @property
    def words(self) -> str:
        """Return the text without its tags."""
        return " ".join(unescape(re.sub(r"<[^>]*>", " ", self.text)).split())

    @property
    def csrf(self) -> str:
        """Return what the page's forms carry."""
        found = re.search(r'name="csrf" value="(\w+)"', self.text)
        assert found, self.text
        return found[1]


class Visitor:
    """A browser without JavaScript: cookies, pages and forms."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.session = session
        self.url = url

    async def get(self, path: str, *, headers: dict[str, str] | None = None) -> Page:
        """Return a page; redirects are not followed."""
        request = self.session.get(
            self.url + path, headers={**HTML, **(headers or {})}, allow_redirects=False
        )
        async with request as response:
            return Page(response.status, response.headers, await response.text())

    async def post(self, path: str, form: Any) -> Page:
        """Send a form; redirects are not followed."""
        request = self.session.post(self.url + path, data=form, headers=HTML, allow_redirects=False)
        async with request as response:
            return Page(response.status, response.headers, await response.text())

    async def submit(self, page: str, path: str, form: dict[str, str] | None = None) -> Page:
        """Open a page, and send a form of it."""
        opened = await self.get(page)
        return await self.post(path, {**(form or {}), "csrf": opened.csrf})

    async def sign_in(self, person: Person = ADA, key: Key = OPERATOR_KEY) -> Page:
        """Sign in with a new link; return the answer."""
        link = sign_link(self.url, person, key, time.time())
        return await self.post("/sign-in", {"link": link.partition("link=")[2]})


class ConsoleStack(Struct, frozen=True):
    """A running console."""

    url: str
    nats: Nats
    health: str


@asynccontextmanager
async def running_console(
    directory: Path, database: str, **settings: str
) -> AsyncIterator[ConsoleStack]:
    """Run NATS, a responder and a console within the context."""
    async with AsyncExitStack() as stack:
        nats = stack.enter_context(
            embedded_nats(directory / "nats", config=CONFIG, environment=ENVIRONMENT)
        )
        await stack.enter_async_context(
            responders(1, directory, database, nats.url, **bus_user("service"), **PATIENT)
        )
        health = free_port()
        key = directory / "console.json"
        key.write_bytes(key_set_document([OPERATOR_JWK]))
        program = Program(
            name="console",
            arguments=["console"],
            settings={
                "nats_url": nats.url,
                **bus_user("console"),
                "key_set_file": str(write_key_set(directory / "keys.json")),
                "console_key_file": str(key),
                "console_port": "0",
                "http_port": str(health),
                **settings,
            },
            ready_url=f"http://127.0.0.1:{health}/readyz",
        )
        started = await stack.enter_async_context(running(program, directory / "console"))
        served = re.search(r"serving the console on (\S+)", started.log.read_text())
        assert served is not None
        yield ConsoleStack(served[1], nats, f"http://127.0.0.1:{health}")


@asynccontextmanager
async def visitor(url: str) -> AsyncIterator[Visitor]:
    """Open a browser of its own within the context."""
    jar = aiohttp.CookieJar(unsafe=True)  # addresses, not names
    async with aiohttp.ClientSession(cookie_jar=jar) as session:
        yield Visitor(session, url)


def bus_user(user: str) -> dict[str, str]:
    """Return the settings with which a process connects as a user of the shipped configuration."""
    return {
        "nats_user": user,
        "nats_password": PASSWORDS[user],
        "nats_inbox_prefix": f"_INBOX_{user}",
    }


async def add_run(
    connection: Connection,
    made: Installed,
    schedule_id: UUID,
    slot: object,
    status: str = "success",
    error: str | None = None,
) -> UUID:
    """Insert a run of a slot; return its id."""
    run_id: UUID = await connection.fetchval(
        RUN, made.tenant_id, made.install_id, schedule_id, slot, status, error
    )
    return run_id


async def publish(console: ConsoleStack, tenant_id: str) -> None:
    """Publish the event of a run of a tenant, as a worker does."""
    install_id = str(uuid4())
    event = Event(
        id=str(uuid4()),
        type=EventType.RUN_SUCCEEDED,
        tenant_id=tenant_id,
        install_id=install_id,
        at="2026-03-29T00:30:00.000Z",
        data={},
    )
    async with connected(console.nats, "service") as (client, _):
        subject = event_subject(tenant_id, install_id, event.type)
        await client.publish(subject, msgspec.json.encode(event))
        await client.flush()

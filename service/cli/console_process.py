"""The process of ``console``: its connection to the bus, and what it serves."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from logging import getLogger
from pathlib import Path

import nats.errors
import typer
from msgspec import Struct
from nats.aio.msg import Msg

from console.app import Console, ConsoleSettings, new_console, serving
from console.bus import AskAdmin
from console.people import Person
from console.proxy import TrustedProxies, UsersUnusableError
from console.responders import DISCOVERY_INTERVAL_S
from contracts.admin import ADMIN_OPS
from contracts.context import InvalidKeySet, Key, signing_key
from contracts.discovery import PING_SUBJECT
from contracts.errors import Code, ServiceError
from contracts.subjects import ADMIN_AUDIENCE, EVENTS_PREFIX
from runner_bridge.requests import Principal, RequestSettings, SignedRequests, SigningKeyProvider
from service.bus.connection import Bus
from service.cli.errors import EXIT_USAGE, CommandError
from service.runtime.metrics import Metrics
from service.runtime.resources import (
    background,
    bus_check,
    connected_bus,
    health,
    key_ring,
    life_checks,
    watch,
)
from service.runtime.settings import PREFIX, Settings
from service.runtime.shutdown import (
    BEYOND_DRAIN_S,
    running,
    stop_signal,
    unless_stopped,
    until_stopped,
)
from service.runtime.supervision import supervised

log = getLogger(__name__)

REQUEST_TIMEOUT_S = 5.0
CONNECTION_CHECK_S = 0.5


async def run_console(loaded: Settings) -> None:
    """Serve the pages until SIGTERM."""
    stopping = stop_signal(loaded.drain_timeout_s + BEYOND_DRAIN_S)
    started = asyncio.Event()
    metrics, checks = Metrics(), life_checks(started, stopping)
    proxies = trusted_proxies(loaded)
    verifiers, signer = key_ring(loaded.key_set_file), admin_key(loaded.console_key_file)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(health(loaded, metrics.exposition, checks))
        connecting = stack.enter_async_context(connected_bus(loaded, "console", metrics))
        bus = await unless_stopped(stopping, connecting)
        if bus is None:
            return
        checks["bus"] = bus_check(bus)
        console = new_console(ask_over(bus, signer))
        await stack.enter_async_context(_fed(console, bus))
        settings = ConsoleSettings(
            host=loaded.console_host,
            port=loaded.console_port,
            url=loaded.console_url,
            secret=form_secret(signer()),
            trace_url=trace_url(loaded),
        )
        server = serving(console, settings, verifiers.current, proxies)
        try:
            url = await stack.enter_async_context(server)
        except OSError as error:
            place = f"{loaded.console_host}:{loaded.console_port}"
            raise CommandError(f"cannot listen on {place}: {error.strerror}") from None
        typer.echo(f"serving the console on {url}")
        await stack.enter_async_context(supervised())
        started.set()
        await until_stopped(stopping, await stack.enter_async_context(running(watch(bus))))


def ask_over(bus: Bus, signer: SigningKeyProvider) -> AskAdmin:
    """Return a function that asks over a connection; while that is lost it fails at once."""
    timeouts = RequestSettings(
        attempt_timeout_s=REQUEST_TIMEOUT_S, total_timeout_s=REQUEST_TIMEOUT_S
    )
    requests = SignedRequests(bus.client, signer, timeouts)

    async def ask(person: Person, op: str, fields: Struct) -> Struct:
        if not bus.client.is_connected:
            raise ServiceError(Code.UNAVAILABLE, "The bus is away")
        principal = Principal(
            audience=ADMIN_AUDIENCE,
            sub=person.name,
            tenant_id=person.tenant,
            permissions=person.permissions,
        )
        return await requests.ask(principal, op, fields, ADMIN_OPS[op].output)

    return ask


def admin_key(file: str) -> SigningKeyProvider:
    """Return a function that returns the current key, so that it may be rotated.

    Raises CommandError when the file has no such key.
    """
    keys = key_ring(file)
    try:
        signing_key(keys.current(), ADMIN_AUDIENCE)
    except InvalidKeySet as error:
        raise CommandError(f"{file}: {error}", EXIT_USAGE) from None
    return lambda: signing_key(keys.current(), ADMIN_AUDIENCE)


def form_secret(key: Key) -> bytes:
    """Return a secret that all processes with the same key derive alike."""
    assert key.sign is not None  # noqa: S101 - ``signing_key`` returns no other
    return hashlib.sha256(key.sign(b"ext-scheduler console forms")).digest()


def trace_url(loaded: Settings) -> str:
    """Return the address of a trace, empty for none. Raises CommandError if it is not one."""
    url = loaded.console_trace_url
    if url and not (url.startswith(("https://", "http://")) and "{trace}" in url):
        raise CommandError(
            f"{PREFIX}CONSOLE_TRACE_URL must be an address with {{trace}} in it", EXIT_USAGE
        )
    return url


def trusted_proxies(loaded: Settings) -> TrustedProxies | None:
    """Return the proxies that sign people in, None where links do. Raises CommandError."""
    if not loaded.console_user_header:
        return None
    if not (loaded.console_proxies and loaded.console_users_file):
        raise CommandError(
            f"{PREFIX}CONSOLE_USER_HEADER needs {PREFIX}CONSOLE_PROXIES"
            f" and {PREFIX}CONSOLE_USERS_FILE",
            EXIT_USAGE,
        )
    try:
        return TrustedProxies(
            loaded.console_user_header, loaded.console_proxies, Path(loaded.console_users_file)
        )
    except UsersUnusableError as error:
        raise CommandError(str(error), EXIT_USAGE) from None


@asynccontextmanager
async def _fed(console: Console, bus: Bus) -> AsyncIterator[None]:
    """Feed the console with events and discovered responders within the context."""
    inbox = bus.client.new_inbox()

    async def on_event(message: Msg) -> None:
        console.feed.receive(message.data)

    async def on_ping(message: Msg) -> None:
        console.responders.receive(message.data)

    await bus.client.subscribe(f"{EVENTS_PREFIX}.>", cb=on_event)
    await bus.client.subscribe(inbox, cb=on_ping)
    async with background(_discover(bus, inbox)), background(_follow_connection(console, bus)):
        yield


async def _discover(bus: Bus, inbox: str) -> None:
    while True:
        if bus.client.is_connected:
            try:
                await bus.client.publish(PING_SUBJECT, reply=inbox)
            except (nats.errors.Error, OSError) as error:
                log.warning("responders not discovered: %r", error)
        await asyncio.sleep(DISCOVERY_INTERVAL_S)


async def _follow_connection(console: Console, bus: Bus) -> None:
    while True:
        console.feed.set_connected(bus.client.is_connected)
        await asyncio.sleep(CONNECTION_CHECK_S)

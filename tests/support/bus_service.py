"""A responder on a real bus with a handler of the test's making."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from nats.aio.client import Client

from contracts.errors import NUMBERS, Code
from contracts.subjects import EXECUTE_SUBJECT
from service.bus.client import BusEvent, NatsConnection, ignore
from service.bus.connection import Bus, BusSettings, connect
from service.bus.micro import Identity
from service.messages import Handle, Reply, Request, Screen, ServiceOperation, admit_all
from service.requests.responder import Responder, ResponderEvent
from service.requests.settings import ResponderSettings

HOST_OPS = ("list", "get", "create", "update", "delete", "getEndpoints")
ADMIN_OPS = ("listSchedules", "runNow")


def identity(id: str = "one") -> Identity:  # noqa: A002 - the protocol's word
    return Identity("ext-scheduler", id, "0.1.0", "Cron schedules", datetime.now(UTC))


def operation(op: str, audience: str = "ext.scheduler") -> ServiceOperation:
    return ServiceOperation(f"{audience}.{op}", op, audience, {"title": op}, {"title": "out"})


def operations() -> Sequence[ServiceOperation]:
    return [operation(op) for op in HOST_OPS] + [
        operation(op, "ext.scheduler.admin") for op in ADMIN_OPS
    ]


async def echo(request: Request) -> Reply:
    """Return the body back; the operation as request id, so that a mix-up would show."""
    return Reply({"Ext-Request-Id": request.op}, request.body)


def refuse(request: Request, code: Code, why: str) -> Reply:
    return Reply({"Ext-Request-Id": request.op}, why.encode(), (NUMBERS[code], why))


class Gate:
    """A handler that waits to be let through, and notes who came."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.seen: list[bytes] = []

    async def handle(self, request: Request) -> Reply:
        self.seen.append(request.body)
        await self.open.wait()
        return await echo(request)


@asynccontextmanager
async def a_bus(
    url: str, observe: Callable[[BusEvent], None] = ignore, **settings: Any
) -> AsyncIterator[Bus]:
    bus = await connect(BusSettings(servers=(url,), **settings), observe)
    try:
        yield bus
    finally:
        await bus.close()


@asynccontextmanager
async def serving(
    bus: Bus,
    handle: Handle = echo,
    events: list[ResponderEvent] | None = None,
    id: str = "one",  # noqa: A002 - the protocol's word
    screen: Screen = admit_all,
    **settings: Any,
) -> AsyncIterator[Responder]:
    """Yield a started responder, stopped at the end."""
    responder = Responder(
        bus,
        identity(id),
        operations(),
        ResponderSettings(**settings),
        observe=(list[ResponderEvent]() if events is None else events).append,
    )
    await responder.start(handle, refuse, screen)
    try:
        yield responder
    finally:
        if responder.accepting:
            await responder.stop()


@asynccontextmanager
async def a_client(url: str, **options: Any) -> AsyncIterator[NatsConnection]:
    client = NatsConnection()  # not the library's own: its flush does not wait for subscriptions
    await client.connect(url, **options)
    try:
        yield client
    finally:
        await client.close()


@asynccontextmanager
async def a_runner(
    client: Client, answer: Callable[[bytes], Awaitable[bytes]]
) -> AsyncIterator[None]:
    """Answers ``ext.runner.execute`` as a bridge does."""

    async def execute(message: Any) -> None:
        await client.publish(message.reply, await answer(message.data))

    subscription = await client.subscribe(EXECUTE_SUBJECT, queue="ext-runner", cb=execute)
    await client.flush()
    try:
        yield
    finally:
        await subscription.unsubscribe()
        await client.flush()

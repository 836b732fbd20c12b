"""The shipped ``nats.conf`` on a server of the test's own, and its users."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from devstack.embedded import Nats
from service.bus.client import NatsConnection
from service.bus.connection import Bus
from service.messages import Handle
from tests.support.bus_service import a_bus, a_client, echo, serving

CONFIG = Path(__file__).parents[2] / "nats.conf"
USERS = ("service", "runner", "operator", "platform", "console", "sys")
PASSWORDS = {user: f"{user}-password" for user in USERS}
ENVIRONMENT = {
    f"EXT_SCHEDULER_NATS_{user.upper()}_PASSWORD": password for user, password in PASSWORDS.items()
}
EVENT = "ext.scheduler.events.tenant.install.schedule.created"


@asynccontextmanager
async def connected(
    server: Nats, user: str, prefix: str = ""
) -> AsyncIterator[tuple[NatsConnection, list[str]]]:
    denials: list[str] = []

    async def note(error: Exception) -> None:
        denials.append(str(error))

    async with a_client(
        server.url,
        user=user,
        password=PASSWORDS[user],
        inbox_prefix=prefix or f"_INBOX_{user}",
        error_cb=note,
    ) as client:
        yield client, denials


@asynccontextmanager
async def the_service(
    server: Nats,
    id: str = "one",  # noqa: A002 - the protocol's word
    handle: Handle = echo,
) -> AsyncIterator[Bus]:
    """Yield the connection of a responder that serves as the user that is meant for it."""
    async with (
        a_bus(server.url, user="service", password=PASSWORDS["service"]) as bus,
        serving(bus, handle, id=id),
    ):
        yield bus


async def may_publish(server: Nats, user: str, subject: str) -> bool:
    async with connected(server, user) as (client, denials):
        await client.publish(subject, b"{}")
        await client.flush()
        return not denials


async def may_subscribe(server: Nats, user: str, subject: str, queue: str = "") -> bool:
    async with connected(server, user) as (client, denials):
        await client.subscribe(subject, queue=queue)
        await client.flush()
        return not denials

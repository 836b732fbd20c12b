"""What the processes on the Runner's side share: keys, the bus, and their end."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from service.bus import Bus, BusSettings, BusUnavailableError, connect
from service.cli.errors import CommandError
from service.keyring import KeyRing, KeysUnusableError
from service.settings import Settings


def stop_signal() -> asyncio.Event:
    """Return an event that SIGTERM and SIGINT set."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    return stopping


def key_ring(file: Path) -> KeyRing:
    """Return the keys in a file. Raises CommandError when they cannot be used."""
    try:
        return KeyRing(file)
    except KeysUnusableError as error:
        raise CommandError(str(error)) from None


@asynccontextmanager
async def connected_bus(chosen: Settings, name: str) -> AsyncIterator[Bus]:
    """Connect for the length of the block. Raises CommandError when that is not possible."""
    bus_settings = BusSettings(
        servers=chosen.nats_url.split(","),
        name=name,
        user=chosen.nats_user or None,
        password=chosen.nats_password or None,
        inbox_prefix=chosen.nats_inbox_prefix,
    )
    try:
        bus = await connect(bus_settings)
    except BusUnavailableError as error:
        raise CommandError(str(error)) from None
    try:
        yield bus
    finally:
        await bus.close()


async def stopped(stopping: asyncio.Event, bus: Bus) -> None:
    """Wait for a stop signal. Raises CommandError when the bus is lost for good before."""
    waits = [asyncio.create_task(event.wait()) for event in (stopping, bus.closed)]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
    if bus.closed.is_set():
        raise CommandError(bus.closed_reason)

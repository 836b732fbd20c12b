"""Notifications of new jobs, and detection of a listener that no longer receives them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import uuid4

import asyncpg
import msgspec
from msgspec import Struct

from service.storage.engine.acquire import acquired
from service.storage.runs.queue import SETTINGS

PROBE_CHANNEL = "ext_scheduler_listening"

NOTIFY = "SELECT pg_notify($1::text, $2::text)"


class ListenerLostError(Exception):
    """Notifications no longer arrive."""


class _Change(Struct):
    """What pgqueuer's trigger reports of a statement on its table."""

    operation: str


class Listener:
    """A connection that listens. ``lost`` is set when it has ended."""

    def __init__(self, pool: asyncpg.Pool, on_enqueued: Callable[[], None]) -> None:
        self.lost = asyncio.Event()
        self._pool = pool
        self._on_enqueued = on_enqueued
        self._name = str(uuid4())
        self._probed = asyncio.Event()

    async def probe(self, timeout_s: float) -> None:
        """Send a notification and wait until it arrives. Raises ListenerLostError."""
        self._probed.clear()
        async with acquired(self._pool) as connection:
            await connection.execute(NOTIFY, PROBE_CHANNEL, self._name)
        try:
            async with asyncio.timeout(timeout_s):
                await self._probed.wait()
        except TimeoutError:
            raise ListenerLostError from None

    def on_notification(
        self, _connection: object, _pid: int, channel: str, payload: object
    ) -> None:
        """Handle a notification; those of other workers' probes and other changes are ignored."""
        if channel == PROBE_CHANNEL:
            if payload == self._name:
                self._probed.set()
            return
        with suppress(msgspec.MsgspecError):  # any session may notify
            if msgspec.json.decode(str(payload), type=_Change).operation == "insert":
                self._on_enqueued()

    def on_termination(self, _connection: object) -> None:
        """Note that the connection has ended."""
        self.lost.set()


@asynccontextmanager
async def listening(pool: asyncpg.Pool, on_enqueued: Callable[[], None]) -> AsyncIterator[Listener]:
    """Listen within the context; ``on_enqueued`` is called when there are new jobs."""
    listener = Listener(pool, on_enqueued)
    on_notification: Any = listener.on_notification
    async with acquired(pool) as connection:
        connection.add_termination_listener(listener.on_termination)
        try:
            for channel in (SETTINGS.channel, PROBE_CHANNEL):
                await connection.add_listener(channel, on_notification)
            yield listener
        finally:
            # Where it is lost, the pool has removed it already, and refuses to say anything of it.
            with suppress(asyncpg.InterfaceError):
                connection.remove_termination_listener(listener.on_termination)
                # Not returned to others: a statement that was cancelled may have been carried out,
                # and a server that is frozen answers neither UNLISTEN nor a goodbye.
                connection.terminate()

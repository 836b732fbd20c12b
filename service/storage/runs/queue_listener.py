"""Hearing at once of jobs that were enqueued, and noticing when that no longer works."""

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

PROBES = "ext_scheduler_listening"

NOTIFY = "SELECT pg_notify($1::text, $2::text)"


class ListenerLostError(Exception):
    """Notifications no longer arrive."""


class _Change(Struct):
    """What pgqueuer's trigger tells of a statement on its table."""

    operation: str


class Listener:
    """A connection that listens. ``lost`` is set when it has ended."""

    def __init__(self, pool: asyncpg.Pool, enqueued: Callable[[], None]) -> None:
        self.lost = asyncio.Event()
        self._pool = pool
        self._enqueued = enqueued
        self._name = str(uuid4())
        self._heard = asyncio.Event()

    async def probe(self, patience_s: float) -> None:
        """Send a notification and wait until it arrives. Raises ListenerLostError."""
        self._heard.clear()
        async with acquired(self._pool) as connection:
            await connection.execute(NOTIFY, PROBES, self._name)
        try:
            async with asyncio.timeout(patience_s):
                await self._heard.wait()
        except TimeoutError:
            raise ListenerLostError from None

    def hear(self, _connection: object, _pid: int, channel: str, payload: object) -> None:
        """Take a notification; those of other workers' probes and of other changes mean nothing."""
        if channel == PROBES:
            if payload == self._name:
                self._heard.set()
            return
        with suppress(msgspec.MsgspecError):  # anybody may notify
            if msgspec.json.decode(str(payload), type=_Change).operation == "insert":
                self._enqueued()

    def end(self, _connection: object) -> None:
        """Note that the connection has ended."""
        self.lost.set()


@asynccontextmanager
async def listening(pool: asyncpg.Pool, enqueued: Callable[[], None]) -> AsyncIterator[Listener]:
    """Listen for the time of the block; ``enqueued`` is called when there are new jobs."""
    listener = Listener(pool, enqueued)
    hear: Any = listener.hear
    async with acquired(pool) as connection:
        connection.add_termination_listener(listener.end)
        for channel in (SETTINGS.channel, PROBES):
            await connection.add_listener(channel, hear)
        try:
            yield listener
        finally:
            # Where the connection is gone, the pool has taken it away already.
            with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                connection.remove_termination_listener(listener.end)
                for channel in (SETTINGS.channel, PROBES):
                    await connection.remove_listener(channel, hear)

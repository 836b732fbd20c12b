"""Reports that this worker is up, so that a schedule that waits for one can be explained."""

import asyncio
from collections.abc import Callable
from logging import getLogger

import asyncpg

from service.storage.engine import clock
from service.storage.engine.acquire import acquired
from service.storage.engine.connection import Connection
from service.storage.engine.errors import is_unavailable
from service.storage.runs import workers

log = getLogger(__name__)

INTERVAL_S = 10.0
ACQUIRE_TIMEOUT_S = 2.0


class PresenceReporter:
    """Writes the worker's row every ten seconds; once it stops, the row soon counts as old."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        name: str,
        capacity: int,
        in_flight: Callable[[], int],
        now: clock.Clock,
    ) -> None:
        self._pool = pool
        self._name = name
        self._capacity = capacity
        self._in_flight = in_flight
        self._now = now
        self._first = True

    async def run(self, stopping: asyncio.Event) -> None:
        """Report until ``stopping`` is set, also after times without a database."""
        while not stopping.is_set():
            await self._try_to_report()
            try:
                await asyncio.wait_for(stopping.wait(), INTERVAL_S)
            except TimeoutError:
                continue

    async def _try_to_report(self) -> None:
        try:
            async with acquired(self._pool, ACQUIRE_TIMEOUT_S) as connection:
                await self._report(connection)
        except Exception as error:
            if not is_unavailable(error):
                raise
            log.info("presence not reported: %r", error)

    async def _report(self, connection: Connection) -> None:
        now, in_flight = await self._now(connection), self._in_flight()
        await workers.seen(
            connection, self._name, now, in_flight, self._capacity, first=self._first
        )
        self._first = False

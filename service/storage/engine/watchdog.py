"""Whether the server of a pool answers; where it fell silent, the pool's connections are ended."""

import asyncio
import time
from logging import getLogger
from weakref import WeakSet

import asyncpg

from service.storage.engine.connect import Servers, SessionSettings
from service.storage.engine.errors import describe

log = getLogger(__name__)

INTERVAL_S = 2.0
ANSWER_TIMEOUT_S = 4.0
STOOD_STILL_S = 1.0
"""A process that itself stood still for longer does not judge the server."""
ASK = "SELECT true"


class Watchdog:
    """Asks on a connection of its own, which no request can hold up.

    A frozen server closes nothing: each statement would wait for its own timeout, and hold its
    caller as long. ``connections`` are those to end then; ``answers`` is the latest finding.
    """

    def __init__(self, servers: Servers, name: str) -> None:
        self.connections: WeakSet[asyncpg.Connection] = WeakSet()
        self.answers = True
        self._servers = servers
        self._session = SessionSettings(f"{name} watchdog")
        self._own: asyncpg.Connection | None = None

    async def run(self) -> None:
        """Ask until cancelled."""
        try:
            while True:
                known = self._own is not None
                # Perhaps only the connections are frozen, and a new one is answered.
                self.answers = await self._ask() or (known and await self._ask())
                await asyncio.sleep(INTERVAL_S)
        finally:
            if self._own is not None:
                self._own.terminate()

    def has_answer(self) -> bool:
        """Return whether the server answered when it was asked last."""
        return self.answers

    async def _ask(self) -> bool:
        began = time.monotonic()
        known = self._own is not None
        try:
            if self._own is None:
                self._own = await self._servers.connect(self._session)
            await self._own.execute(ASK, timeout=ANSWER_TIMEOUT_S)
        except Exception as error:  # noqa: BLE001 - whatever it is, the server did not answer
            if self._own is not None:
                self._own.terminate()
                self._own = None
            if time.monotonic() - began > ANSWER_TIMEOUT_S + STOOD_STILL_S and known:
                return self.answers
            log.warning("the database does not answer: %s", describe(error))
            if isinstance(error, TimeoutError) and known:
                self._end_connections()
            return False
        return True

    def _end_connections(self) -> None:
        for connection in list(self.connections):
            connection.terminate()

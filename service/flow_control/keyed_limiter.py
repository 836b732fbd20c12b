"""A few changes of one install at a time, so that its callers cannot pin the connection pool.

Fairness within one process only: nothing that must be right depends on it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext

from contracts.errors import Code, ServiceError

TOO_MANY = "Too many changes of this install at once, please try again"

StepAside = Callable[[], AbstractContextManager[None]]
"""Entered while a request only waits for its turn: another request runs in its place."""


class PerKeyLimiter:
    """Allows ``at_once`` turns per install; forgets installs that no caller waits for.

    At most ``waiting`` callers of one install wait for a turn, each for ``timeout_s`` seconds.
    """

    def __init__(self, at_once: int, waiting: int = 256, timeout_s: float = 5.0) -> None:
        self._at_once = at_once
        self._max_callers = at_once + waiting
        self._timeout_s = timeout_s
        self._semaphores: dict[Hashable, tuple[asyncio.Semaphore, int]] = {}

    @asynccontextmanager
    async def turn(self, key: Hashable, step_aside: StepAside = nullcontext) -> AsyncIterator[None]:
        """Wait for a turn of this key, within ``step_aside``.

        Raises ServiceError UNAVAILABLE when too many wait already, TimeoutError after too long.
        """
        semaphore, users = self._semaphores.get(key) or (
            asyncio.Semaphore(self._at_once),
            0,
        )
        if users >= self._max_callers:
            raise ServiceError(Code.UNAVAILABLE, TOO_MANY)
        self._semaphores[key] = (semaphore, users + 1)
        try:
            await self._wait(semaphore, step_aside)
            try:
                yield
            finally:
                semaphore.release()
        finally:
            _, users = self._semaphores[key]
            if users == 1:
                del self._semaphores[key]
            else:
                self._semaphores[key] = (semaphore, users - 1)

    async def _wait(self, semaphore: asyncio.Semaphore, step_aside: StepAside) -> None:
        if semaphore.locked():
            with step_aside():
                async with asyncio.timeout(self._timeout_s):
                    await semaphore.acquire()
        else:
            await semaphore.acquire()

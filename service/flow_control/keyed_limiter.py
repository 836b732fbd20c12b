"""A few changes of one install at a time, so that its callers cannot pin the connection pool.

Fairness within one process only: nothing that must be right depends on it.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from uuid import UUID

from contracts.errors import Code, ServiceError
from service.messages import Aside

TOO_MANY = "Too many changes of this install at once, please try again"


class Turns:
    """Hands out at most ``at_once`` turns per install; forgets installs that nobody waits for.

    So many callers of one install may wait for theirs, for ``patience_s`` each.
    """

    def __init__(self, at_once: int, waiting: int = 256, patience_s: float = 5.0) -> None:
        self._at_once = at_once
        self._most = at_once + waiting
        self._patience_s = patience_s
        self._semaphores: dict[UUID, tuple[asyncio.Semaphore, int]] = {}

    @asynccontextmanager
    async def turn(
        self, install_id: UUID | None, aside: Aside = nullcontext
    ) -> AsyncIterator[None]:
        """Wait for a turn of this install, standing ``aside``; None needs no turn.

        Raises ServiceError UNAVAILABLE when too many wait already, TimeoutError after too long.
        """
        if install_id is None:
            yield
            return
        semaphore, users = self._semaphores.get(install_id) or (
            asyncio.Semaphore(self._at_once),
            0,
        )
        if users >= self._most:
            raise ServiceError(Code.UNAVAILABLE, TOO_MANY)
        self._semaphores[install_id] = (semaphore, users + 1)
        try:
            await self._wait(semaphore, aside)
            try:
                yield
            finally:
                semaphore.release()
        finally:
            _, users = self._semaphores[install_id]
            if users == 1:
                del self._semaphores[install_id]
            else:
                self._semaphores[install_id] = (semaphore, users - 1)

    async def _wait(self, semaphore: asyncio.Semaphore, aside: Aside) -> None:
        if semaphore.locked():
            with aside():
                async with asyncio.timeout(self._patience_s):
                    await semaphore.acquire()
        else:
            await semaphore.acquire()

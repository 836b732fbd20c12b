"""A few changes of one install at a time, so that its callers cannot pin the connection pool.

Fairness within one process only: nothing that must be right depends on it.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID


class Turns:
    """Hands out at most ``at_once`` turns per install; forgets installs that nobody waits for."""

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._semaphores: dict[UUID, tuple[asyncio.Semaphore, int]] = {}

    @asynccontextmanager
    async def turn(self, install_id: UUID | None) -> AsyncIterator[None]:
        """Wait for a turn of this install; None needs no turn."""
        if install_id is None:
            yield
            return
        semaphore, users = self._semaphores.get(install_id) or (
            asyncio.Semaphore(self._at_once),
            0,
        )
        self._semaphores[install_id] = (semaphore, users + 1)
        try:
            async with semaphore:
                yield
        finally:
            _, users = self._semaphores[install_id]
            if users == 1:
                del self._semaphores[install_id]
            else:
                self._semaphores[install_id] = (semaphore, users - 1)

"""Connections that are kept for a moment, so that not each of many short uses acquires its own."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeAlias

from msgspec import Struct

from service.storage.engine.acquire import has_ended
from service.storage.engine.connection import Connection
from service.storage.engine.errors import is_server_failure

KEEP_S = 0.03
"""For so long others may have to wait for a connection that is kept unused."""

Connect: TypeAlias = Callable[[], AbstractAsyncContextManager[Connection]]
"""Provides a connection within the context; raises what ``is_unavailable`` accepts where none is
available."""


class _Kept(Struct, eq=False):
    """``failures`` is how many the server had when the connection was acquired."""

    context: AbstractAsyncContextManager[Connection]
    connection: Connection
    failures: int
    is_due: bool = False


class KeptConnections:
    """Gives a connection back ``keep_s`` after it was acquired, or as soon as it is unused then.

    Acquiring one and giving it back is a tenth of what a batch costs. It is given back at once
    where its use failed, and while somebody here waits for one.
    """

    def __init__(self, connect: Connect, keep_s: float = KEEP_S) -> None:
        self._connect = connect
        self._keep_s = keep_s
        self._unused: list[_Kept] = []
        self._acquiring = 0
        self._failures = 0
        self._releases: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Provide a connection within the context. Raises what acquiring one raises."""
        kept = self._take() or await self._acquire()
        try:
            yield kept.connection
        except BaseException as error:
            if is_server_failure(error):
                # The others would fail their next users in the same way.
                self._failures += 1
                while self._unused:
                    self._release_later(self._unused.pop())
            await kept.context.__aexit__(type(error), error, error.__traceback__)
            raise
        if self._may_keep(kept):
            self._unused.append(kept)
        else:
            await kept.context.__aexit__(None, None, None)

    def _take(self) -> _Kept | None:
        while self._unused:
            kept = self._unused.pop()
            if not has_ended(kept.connection):
                return kept
            self._release_later(kept)
        return None

    def _may_keep(self, kept: _Kept) -> bool:
        if kept.is_due or self._acquiring or kept.failures != self._failures:
            return False
        return not has_ended(kept.connection) and not kept.connection.is_in_transaction()

    async def _acquire(self) -> _Kept:
        context, failures = self._connect(), self._failures
        self._acquiring += 1
        try:
            kept = _Kept(context, await context.__aenter__(), failures)
        finally:
            self._acquiring -= 1
        asyncio.get_running_loop().call_later(self._keep_s, self._give_back, kept)
        return kept

    def _give_back(self, kept: _Kept) -> None:
        kept.is_due = True
        if kept in self._unused:
            self._unused.remove(kept)
            self._release_later(kept)

    def _release_later(self, kept: _Kept) -> None:
        task = asyncio.create_task(_release(kept))
        self._releases.add(task)
        task.add_done_callback(self._releases.discard)


async def _release(kept: _Kept) -> None:
    await kept.context.__aexit__(None, None, None)

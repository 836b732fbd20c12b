"""One step at a time, in an order that the seed decides: what makes a world repeat exactly.

A step is what can have an effect: a statement, a message, a new connection. All tasks work until
each waits for its next step, or for time to pass; then one of the steps is chosen and done, with
its answer awaited. So nothing depends on which answer comes first. A statement that waits for a
lock is left waiting, and another step is chosen: the database says which do.
"""

import asyncio
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random

import asyncpg
from msgspec import Struct

from tests.simulation.simulated_clock import SimulatedLoop, pause

MOST_ROUNDS = 20_000
"""How often the loop may be idle while something is awaited: some milliseconds each."""

WAIT_FOR_LOCKS = "SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted"

TIME_OUT = """
SELECT count(pg_cancel_backend(pid)) FROM (SELECT DISTINCT pid FROM pg_locks WHERE NOT granted) w
"""
"""What waits for a lock gives it up when nobody else can go on: at the same moment each time."""

STILL_THERE = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid = ANY($1::integer[])
"""


class _Waiting(Struct):
    """A task that waits for its turn; all but the futures are the same in each repetition.

    ``work`` and ``number`` tell apart who waits for the same: what a task does, and as which one
    of all it was made.
    """

    name: str
    what: str
    work: str
    number: int
    ready: Callable[[], bool]
    chosen: asyncio.Future[None]


class Turns:
    """Gives out turns, while the simulation itself rests; ``control`` is its own connection."""

    def __init__(self, seed: int, control: asyncpg.Connection) -> None:
        self.taken = 0
        self.digest = 0
        """Of the steps in their order: the same in each repetition."""
        self._random = Random(seed)
        self._control = control
        self._waiting: list[_Waiting] = []
        self._moving = 0
        self._awaited: Counter[str] = Counter()
        self._leaving: set[int] = set()

    @asynccontextmanager
    async def turn(
        self, name: str, what: str, ready: Callable[[], bool] = lambda: True
    ) -> AsyncIterator[None]:
        """Wait for a turn, which ends with the context; it is given only while ``ready``."""
        task, future = asyncio.current_task(), asyncio.get_running_loop().create_future()
        assert task is not None
        work = getattr(task.get_coro(), "__qualname__", "")
        waiting = _Waiting(name, what, work, hash(task), ready, future)
        self._waiting.append(waiting)
        try:
            await waiting.chosen
        except asyncio.CancelledError:
            if waiting.chosen.done() and not waiting.chosen.cancelled():
                self._moving -= 1
            raise
        finally:
            if waiting in self._waiting:
                self._waiting.remove(waiting)
        try:
            yield
        finally:
            self._moving -= 1

    def expect(self, message: str) -> None:
        """Await the arrival of a message with this subject before the next turn."""
        self._awaited[message] += 1

    def arrived(self, message: str) -> None:
        """Note the arrival of a message."""
        if self._awaited[message] > 1:
            self._awaited[message] -= 1
        else:
            del self._awaited[message]

    async def arrivals(self) -> None:
        """Wait until the messages that are expected have arrived, and were heeded."""
        while self._awaited:
            await _loop().idle(self._awaits)

    def leaves(self, backend: int) -> None:
        """Await the end of a backend whose connection was cut: it may hold locks until then."""
        self._leaving.add(backend)

    async def rest(self) -> None:
        """Give out turns until nobody can go on without time passing, or a lock given up."""
        for _ in range(MOST_ROUNDS):
            await self._until_gone()
            await _loop().idle(self._awaits)
            if self._awaited:
                continue
            if self._moving and not await self._all_blocked():
                continue
            if self._choose():
                continue
            if not self._moving:
                return
            await self._control.fetchval(TIME_OUT)
        raise AssertionError(f"awaited in vain: {self._moving} steps, {dict(self._awaited)}")

    def _awaits(self) -> bool:
        """Return whether an answer or a message is to come."""
        return self._moving > 0 or bool(self._awaited)

    async def _all_blocked(self) -> bool:
        """Return whether all that is under way waits for locks."""
        moving = self._moving
        blocked: int = await self._control.fetchval(WAIT_FOR_LOCKS)
        return self._moving == moving <= blocked

    def _choose(self) -> bool:
        """Give one turn; False where there is nobody to have one."""
        # In an order of their own: which of them came first may have been chance.
        ready = sorted(
            (each for each in self._waiting if each.ready() and not each.chosen.done()),
            key=lambda each: (each.name, each.what, each.work, each.number),
        )
        if not ready:
            return False
        chosen = self._random.choice(ready)
        self._waiting.remove(chosen)
        self._moving += 1
        self.taken += 1
        self.digest = zlib.crc32(f"{chosen.name} {chosen.what}".encode(), self.digest)
        chosen.chosen.set_result(None)
        return True

    async def _until_gone(self) -> None:
        while self._leaving:
            if not await self._control.fetchval(STILL_THERE, list(self._leaving)):
                self._leaving.clear()
                return
            await pause()


def _loop() -> SimulatedLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SimulatedLoop)
    return loop

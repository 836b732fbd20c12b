"""Many callers, one statement: items of single callers are collected into batches."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Any, Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")

WAIT_S = 0.004
SIZE = 200
LANES = 2


class MicroBatcher(Generic[T, R]):
    """Collects items for ``wait_s`` or until there are ``size``, and works on them together.

    Without a wait an item begins in the next iteration of the event loop, or once a lane is free.
    ``work`` gives one result per item, in order; what it raises, every caller of the batch gets. A
    batch that fails with an error that ``isolates`` accepts is halved and worked on again, down to
    single items, so that a bad one fails alone. At most ``lanes`` batches are worked on at once,
    not counting those that take longer than ``lane_s``: a stuck batch must not hold up the rest.
    What waits is shared out among the lanes that are free, though not in batches smaller than
    ``least``. Two items of the same ``key`` never share a batch.
    """

    def __init__(  # noqa: PLR0913 - each is a property of batches in its own right
        self,
        work: Callable[[Sequence[T]], Awaitable[Sequence[R]]],
        *,
        key: Callable[[T], Hashable] = id,
        wait_s: float = WAIT_S,
        size: int = SIZE,
        least: int | None = None,
        lanes: int = LANES,
        lane_s: float | None = None,
        isolates: Callable[[Exception], bool] = lambda _: False,
    ) -> None:
        self._work = work
        self._isolates = isolates
        self._key = key
        self._wait_s = wait_s
        self._size = size
        self._least = size if least is None else least
        self._lanes = lanes
        self._lane_s = lane_s
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._timer: asyncio.Handle | None = None
        self._starting = False
        self._batches: set[asyncio.Task[None]] = set()
        self._late: dict[asyncio.Task[None], asyncio.TimerHandle] = {}

    async def add(self, item: T) -> R:
        """Return the item's result once its batch is through."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()
        self._waiting.append((item, future))
        if not self._wait_s:
            if not self._starting and len(self._batches) < self._lanes:
                self._starting = True
                self._track(asyncio.create_task(self._run()))
        elif len(self._waiting) >= self._size:
            self._start()
        elif self._timer is None and len(self._batches) < self._lanes:
            self._timer = loop.call_later(self._wait_s, self._start)
        try:
            return await future
        finally:
            del (
                future
            )  # else the exception that it raises holds it, and with it this frame: a cycle

    def _start(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting and (free := self._lanes - len(self._batches)) > 0:
            self._track(asyncio.create_task(self._run(self._take(free))))

    def _track(self, task: asyncio.Task[None]) -> None:
        self._batches.add(task)
        task.add_done_callback(self._ended)
        if self._lane_s is not None:
            loop = asyncio.get_running_loop()
            self._late[task] = loop.call_later(self._lane_s, self._leave, task)

    def _leave(self, task: asyncio.Task[None]) -> None:
        self._batches.discard(task)
        self._start()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._batches.discard(task)
        if task in self._late:
            self._late.pop(task).cancel()
        # What arrived while it ran has waited long enough.
        self._start()

    def _take(self, free_lanes: int) -> list[tuple[T, asyncio.Future[R]]]:
        """Remove a lane's share of what waits, and return it."""
        share = max(self._least, math.ceil(len(self._waiting) / free_lanes))
        most = min(self._size, share)
        batch: list[tuple[T, asyncio.Future[R]]] = []
        later: list[tuple[T, asyncio.Future[R]]] = []
        seen: set[Hashable] = set()
        for entry in self._waiting:
            key = self._key(entry[0])
            if len(batch) < most and key not in seen:
                seen.add(key)
                batch.append(entry)
            else:
                later.append(entry)
        self._waiting = later
        return batch

    async def _run(self, batch: Sequence[tuple[T, asyncio.Future[R]]] | None = None) -> None:
        """Work on a batch; without one, on a share of what waits when the task begins."""
        if batch is None:
            self._starting = False
            batch = self._take(self._lanes - len(self._batches) + 1)
            self._start()
            if not batch:
                return
        parts: list[Sequence[tuple[T, asyncio.Future[R]]]] = [batch]
        while parts:
            batch = parts.pop()
            try:
                results = await self._work([item for item, _ in batch])
            except BaseException as error:  # noqa: BLE001 - it is the callers', who wait for it
                if len(batch) > 1 and isinstance(error, Exception) and self._isolates(error):
                    # One member is refused: each half again, until it stands alone.
                    middle = len(batch) // 2
                    parts += [batch[middle:], batch[:middle]]
                else:
                    _fail(batch, error)
            else:
                _deliver(batch, results)
        del batch  # a traceback may hold this frame: with the futures it would be a cycle


def _deliver(batch: Sequence[tuple[Any, asyncio.Future[Any]]], results: Sequence[Any]) -> None:
    for (_, future), result in zip(batch, results, strict=True):
        if not future.done():
            future.set_result(result)


def _fail(batch: Sequence[tuple[Any, asyncio.Future[Any]]], error: BaseException) -> None:
    for _, future in batch:
        if not future.done():
            future.set_exception(error)

"""Requests that arrive while others are worked on are answered together, on one connection.

No timer: a request that finds a lane free begins at once, alone; under load those that arrive
meanwhile become the next batch. What concerns one request never decides about another.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from logging import getLogger
from uuid import UUID

from msgspec import Struct

from contracts.errors import ServiceError
from service.flow_control.micro_batcher import Gather
from service.operations.context import Answer, Call, Handler, Together
from service.storage.engine.connection import Connection
from service.storage.engine.errors import is_unavailable

log = getLogger(__name__)

SIZE = 32
"""Bounds what is in memory for a batch, and how long its members wait for each other."""
LEAST = 8
LANES = 2
"""PostgreSQL works on one batch while the process does on the other. All in one would leave each
of them waiting for the other; more lanes, or fewer in a batch, cost more than they gain.
"""
LANE_S = 0.1
"""A batch that takes longer has met something slow; those after it do not wait for that."""

Connect = Callable[[], AbstractAsyncContextManager[Connection]]
"""Gives a connection for the length of the block, or raises what means that there is none."""


class Asking(Struct, frozen=True):
    """A verified request that waits to be worked on.

    No two changes of one ``install`` share a batch. ``wanted`` raises ServiceError if the caller
    gave up.
    """

    install: UUID
    wanted: Callable[[], None]
    call: Callable[[Connection], Call]


_Result = Answer | Exception | None


class Batches:
    """Answers requests together where their operation can, and ``together`` is not forbidden."""

    def __init__(self, connect: Connect, *, together: bool = True) -> None:
        self._connect = connect
        self._together = together
        self._gathers: dict[Together, Gather[Asking, _Result]] = {}

    async def answer(self, handler: Handler, asking: Asking) -> Answer:
        """Answer a request, alone or with others; raises what its operation raises for it."""
        if handler.together is not None and self._together:
            result = await self._gather(handler, handler.together).add(asking)
            if isinstance(result, Exception):
                raise result
            if result is not None:
                return result
        asking.wanted()
        async with self._connect() as connection:
            return await handler.run(asking.call(connection))

    def _gather(self, handler: Handler, together: Together) -> Gather[Asking, _Result]:
        gather = self._gathers.get(together)
        if gather is None:
            gather = self._gathers[together] = Gather(
                partial(self._work, handler, together),
                key=_install if handler.mutates else id,
                wait_s=0,
                size=SIZE,
                least=LEAST,
                lanes=LANES,
                lane_s=LANE_S,
            )
        return gather

    async def _work(
        self, handler: Handler, together: Together, batch: Sequence[Asking]
    ) -> list[_Result]:
        results: list[_Result] = [_refusal(asking) for asking in batch]
        wanted = [place for place, result in enumerate(results) if result is None]
        answers = await self._answers(handler, together, [batch[place] for place in wanted])
        for place, answer in zip(wanted, answers, strict=True):
            results[place] = answer
        return results

    async def _answers(
        self, handler: Handler, together: Together, batch: Sequence[Asking]
    ) -> Sequence[_Result]:
        if not batch:
            return ()
        try:
            async with self._connect() as connection:
                calls = [asking.call(connection) for asking in batch]
                return [await handler.run(calls[0])] if len(calls) == 1 else await together(calls)
        except Exception as error:  # noqa: BLE001 -- it is the callers', who are waiting for it
            if len(batch) == 1 or is_unavailable(error):
                # All at once: they must not queue up anew for a database that is away.
                return [error] * len(batch)
            log.warning("%d requests are answered one by one: %r", len(batch), error)
            return [None] * len(batch)


def _install(asking: Asking) -> UUID:
    return asking.install


def _refusal(asking: Asking) -> ServiceError | None:
    """Why nobody is waiting for the answer any more, None where somebody is."""
    try:
        asking.wanted()
    except ServiceError as error:
        return error
    return None

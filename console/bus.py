"""What the console asks on the bus: reads, shared by all who may see the same, and changes."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Protocol, TypeVar, cast

import msgspec
from msgspec import Struct

from console.people import Person
from contracts.admin import ADMIN_OPS
from contracts.errors import Code, Outcome, ServiceError

FRESH_S = 1.0
"""How long an answer is given to everyone who asks the same."""
AWAY_S = 2.0
"""How long after an unanswered read nobody else waits for an answer."""
MAX_KNOWN = 256
"""Answers kept for when the bus is away."""

T = TypeVar("T", bound=Struct)
OutcomeT = TypeVar("OutcomeT", bound=Outcome)
ReadKey = tuple[str, tuple[str, ...], str, bytes]


class AskAdmin(Protocol):
    """Asks an operation in a person's name. Raises ServiceError."""

    async def __call__(self, person: Person, op: str, fields: Struct) -> Struct:
        """Return the operation's output."""
        ...


class KnownAnswer(Struct, frozen=True):
    """An answer, and when it was given (Unix seconds)."""

    value: Struct
    at: float


class BusReads:
    """Answers reads from what is known while that is fresh, or while the bus is away.

    Answers are shared by all with the same tenant and permissions: reads carry no name into the
    audit.
    """

    def __init__(self, ask: AskAdmin, clock: Callable[[], float] = time.time) -> None:
        self._ask = ask
        self._clock = clock
        self._known: dict[ReadKey, KnownAnswer] = {}
        self._in_flight: dict[ReadKey, asyncio.Task[KnownAnswer]] = {}
        self._changed_at = 0.0
        self._away_until = 0.0

    async def read(
        self, person: Person, op: str, fields: Struct, output: type[T]
    ) -> tuple[T, float | None]:
        """Return an operation's output, and since when it is known where it is the last known.

        Raises:
            ServiceError: also ``UNAVAILABLE``, where nothing is known.
        """
        key = (person.tenant, person.permissions, op, msgspec.msgpack.encode(fields))
        known = self._known.get(key)
        now = self._clock()
        if known is not None and known.at > self._changed_at and now - known.at < FRESH_S:
            return cast("T", known.value), None
        assert ADMIN_OPS[op].output is output  # noqa: S101 - what the casts rely on
        try:
            answer = await self._join(key, person, op, fields)
        except ServiceError as error:
            if error.code is not Code.UNAVAILABLE or known is None:
                raise
            return cast("T", known.value), known.at
        return cast("T", answer.value), None

    async def change(
        self, person: Person, op: str, fields: Struct, output: type[OutcomeT]
    ) -> OutcomeT:
        """Make a change, and have everything read again. Raises ServiceError."""
        assert ADMIN_OPS[op].output is output  # noqa: S101 - what the cast relies on
        try:
            return cast("OutcomeT", await self._ask(person, op, fields))
        finally:
            self._changed_at = self._clock()

    async def _join(self, key: ReadKey, person: Person, op: str, fields: Struct) -> KnownAnswer:
        """Wait for the same question that another page has asked, or ask it."""
        if self._clock() < self._away_until:
            raise ServiceError(Code.UNAVAILABLE, "The service does not answer")
        task = self._in_flight.get(key)
        if task is None:
            task = asyncio.create_task(self._answer(key, person, op, fields))
            self._in_flight[key] = task
            task.add_done_callback(lambda _: self._in_flight.pop(key, None))
        return await asyncio.shield(task)

    async def _answer(self, key: ReadKey, person: Person, op: str, fields: Struct) -> KnownAnswer:
        began = self._clock()
        try:
            answer = KnownAnswer(await self._ask(person, op, fields), began)
        except ServiceError as error:
            if error.code is Code.UNAVAILABLE:
                self._away_until = self._clock() + AWAY_S
            raise
        self._known.pop(key, None)
        self._known[key] = answer
        if len(self._known) > MAX_KNOWN:
            del self._known[next(iter(self._known))]
        return answer


def field_errors(outcome: Outcome) -> dict[str, str]:
    """Return the errors of a negative outcome by field; those of none under an empty name."""
    return outcome.field_errors or {"": outcome.error or str(outcome.code or Code.INTERNAL)}


def as_error(outcome: Outcome) -> ServiceError:
    """Return a negative outcome as the error that a page shows."""
    errors: dict[str, Any] = outcome.field_errors or {}
    text = "; ".join(f"{name}: {message}" for name, message in errors.items())
    return ServiceError(
        outcome.code or Code.INTERNAL, text or outcome.error or "", outcome.retry_after_ms
    )

"""A clock that the simulation moves: for every statement of the database, and every timer here.

The database's functions of time are shadowed for the sessions of the simulation, so that the
service's own statements read the moved clock. The event loop's time moves with it, and otherwise
only while nothing else can: a busy machine makes nothing time out.
"""

import asyncio
import selectors
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import asyncpg

LONGEST_WAIT_S = 0.002
PAUSE_S = 0.001
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

SHADOW = """
CREATE SCHEMA simulated;
CREATE SEQUENCE simulated.clock MINVALUE 0;
CREATE FUNCTION simulated.now() RETURNS timestamptz LANGUAGE sql STABLE AS $$
  SELECT 'epoch'::timestamptz + (SELECT last_value FROM simulated.clock) * interval '1 microsecond'
$$;
CREATE FUNCTION simulated.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS $$
  SELECT 'epoch'::timestamptz + (SELECT last_value FROM simulated.clock) * interval '1 microsecond'
$$;
CREATE SEQUENCE simulated.ids;
CREATE FUNCTION simulated.gen_random_uuid() RETURNS uuid LANGUAGE sql VOLATILE AS $$
  SELECT md5(nextval('simulated.ids')::text)::uuid
$$;
DO $$
DECLARE place record;
BEGIN
  FOR place IN
    SELECT format('%I.%I', table_schema, table_name) AS relation, column_name, column_default
    FROM information_schema.columns
    WHERE column_default LIKE '%now()%' OR column_default LIKE '%gen_random_uuid()%'
  LOOP
    EXECUTE format('ALTER TABLE %s ALTER COLUMN %I SET DEFAULT %s', place.relation,
      place.column_name, replace(replace(place.column_default, 'now()', 'simulated.now()'),
        'gen_random_uuid()', 'simulated.gen_random_uuid()'));
  END LOOP;
END $$;
"""
"""A sequence, because what is set in it is seen at once by all, whatever their transactions.

Ids are as random as any, and the same in each repetition.
"""

SEARCH_PATH = "simulated, pg_catalog, public"

SET = "SELECT setval('simulated.clock', $1::bigint)"


def _always() -> bool:
    return True


class _Impatient:
    """Never waits for long: the loop's time moves by other means than waiting.

    ``on_idle`` is called when nothing was ready, and nothing came. It waits only while
    ``is_awaited`` says that something is to come: what has come ends the wait at once.
    """

    def __init__(self, on_idle: Callable[[], None]) -> None:
        self.is_awaited: Callable[[], bool] = _always
        self._selector = selectors.DefaultSelector()
        self._on_idle = on_idle

    def select(self, timeout: float | None = None) -> Sequence[Any]:
        if timeout == 0:
            return self._selector.select(0)
        events = self._selector.select(LONGEST_WAIT_S if self.is_awaited() else 0)
        if not events:
            self._on_idle()
        return events

    def __getattr__(self, name: str) -> Any:
        return getattr(self._selector, name)


class NumberedFuture(asyncio.Future[Any]):
    """A future whose place in a set is the same in each repetition: not that of its memory."""

    number: int | None = None

    def __hash__(self) -> int:
        if self.number is None:
            self.number = _next_number(self.get_loop())
        return self.number


class NumberedTask(asyncio.Task[Any]):
    """A task whose place in a set is the same in each repetition."""

    number: int | None = None

    def __hash__(self) -> int:
        if self.number is None:
            self.number = _next_number(self.get_loop())
        return self.number


def _next_number(loop: asyncio.AbstractEventLoop) -> int:
    """Return the next of the numbers that only what was in a set has: of others chance decides."""
    assert isinstance(loop, SimulatedLoop)
    return next(loop.numbers)


class SimulatedLoop(asyncio.SelectorEventLoop):
    """An event loop whose time stands still until it is moved."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.numbers = count()
        """Of futures; each world begins anew, so that it repeats alone, too."""
        self._idle: asyncio.Future[None] | None = None
        self._impatient = _Impatient(self._on_idle)
        super().__init__(self._impatient)  # type: ignore[arg-type]  # a selector in all but its class

    def time(self) -> float:
        """Return the loop's time in seconds."""
        return self.now_s

    def create_future(self) -> asyncio.Future[Any]:
        """Return a future of this loop."""
        return NumberedFuture(loop=self)

    async def idle(self, is_awaited: Callable[[], bool]) -> None:
        """Wait until all tasks wait; ``is_awaited`` says whether an answer is to come."""
        self._idle = self.create_future()
        self._impatient.is_awaited = is_awaited
        await self._idle
        self._impatient.is_awaited = _always

    def _on_idle(self) -> None:
        if self._idle is not None and not self._idle.done():
            self._idle.set_result(None)


async def pause() -> None:
    """Let the others work for a moment of real time."""
    await asyncio.get_running_loop().run_in_executor(None, time.sleep, PAUSE_S)


class SimulatedClock:
    """The one clock of a simulation; ``now`` is what the database says."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self.now = EPOCH

    async def set(self, now: datetime) -> None:
        """Set the database's clock, in either direction; the loop's time only goes ahead."""
        if self.now != EPOCH:
            # After a step back, too, everything looks at the clock again.
            pass_time(abs(now - self.now) / timedelta(seconds=1))
        await self._write(now)

    async def tick(self) -> None:
        """Move on by a millisecond: what was enqueued for now can be claimed then."""
        await self._write(self.now + timedelta(milliseconds=1))

    async def _write(self, now: datetime) -> None:
        self.now = now
        await self._connection.execute(SET, (now - EPOCH) // MICROSECOND)


def pass_time(seconds: float) -> None:
    """Let time pass for the timers of the loop."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SimulatedLoop)
    loop.now_s += seconds


def begin_to_count() -> None:
    """Number the futures of a world from the beginning, whatever was before it."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SimulatedLoop)
    loop.numbers = count()

"""A worker process of the simulation: it can be killed or frozen before and after each step.

A step is a statement to the database or a message to the bus. Everything that the worker does in
between has no effect that anybody else could see.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, suppress
from contextvars import ContextVar
from datetime import timedelta
from enum import StrEnum
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
import msgspec
from msgspec import Struct

from service.bus.client import NatsConnection, OnMessage
from service.rules.planning import PlanningRules
from service.runtime.metrics import Metrics
from service.storage.engine.connect import SET_UP, SessionSettings, session_defaults
from service.storage.engine.pool import ARRAYS
from service.storage.records.expiry import Retention
from service.worker.firing import FiringSettings
from service.worker.maintenance import MaintenanceSettings
from service.worker.planner import PlannerSettings
from service.worker.runner_client import RunnerClient
from service.worker.worker import Worker, WorkerSettings
from tests.simulation.simulated_clock import SEARCH_PATH, NumberedTask
from tests.simulation.turns import Turns
from tests.support.keys import WORKER_KEY

T = TypeVar("T")

FOR_EVER = timedelta(days=36_500)
KEPT = Retention(runs=FOR_EVER, audit=FOR_EVER)
RULES = PlanningRules()
OWNER = re.compile(r"queue_manager_id = \$(\d+)")
_owner: ContextVar["Process | None"] = ContextVar("_owner", default=None)

Listen = Callable[[Any, int, str, str], None]
"""Receives a connection, a process id, the channel and the payload of a notification."""

Rewrite = Callable[[str], str]
"""Returns the statement to run in place of another: how faults are planted."""


class FaultKind(StrEnum):
    """What happens to a process at a step."""

    KILLED_BEFORE = "killed before a step"
    KILLED_AFTER = "killed after a step"
    FROZEN_BEFORE = "frozen before a step"
    FROZEN_AFTER = "frozen after a step"
    CUT_BEFORE = "connection lost before a statement"
    CUT_AFTER = "answer to a statement lost"


BEFORE = {FaultKind.KILLED_BEFORE, FaultKind.FROZEN_BEFORE, FaultKind.CUT_BEFORE}
KILLS = {FaultKind.KILLED_BEFORE, FaultKind.KILLED_AFTER}
CUTS = {FaultKind.CUT_BEFORE, FaultKind.CUT_AFTER}
SEND = "send "
FREEZES = {FaultKind.FROZEN_BEFORE, FaultKind.FROZEN_AFTER}


class ArmedFault(Struct, frozen=True):
    """A fault that happens at the first step that contains ``where``, after ``steps`` more."""

    kind: FaultKind
    steps: int
    where: str = ""


def make_task(
    loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T], **options: Any
) -> asyncio.Task[T]:
    """Make a task, and remember it for the process that it belongs to."""
    task = NumberedTask(coroutine, loop=loop, **options)
    process = _owner.get()
    if process is not None:
        process.tasks.add(task)
        task.add_done_callback(process.tasks.discard)
    return task


class Process:
    """One worker with its connections; ``start`` it once."""

    def __init__(
        self,
        name: str,
        on_fault: Callable[["Process", FaultKind, str], None],
        senders: dict[str, "Process"],
        rewrite: Rewrite,
        turns: Turns,
    ) -> None:
        self.name = name
        self.turns = turns
        self.listeners: dict[str, dict[tuple[asyncpg.Connection, Listen], None]] = {}
        self.tasks: set[asyncio.Task[Any]] = set()
        self.owners: set[UUID] = set()
        self.steps = 0
        self.busy = 0
        self.dead = False
        self.armed: ArmedFault | None = None
        self.stopping = asyncio.Event()
        self.work: asyncio.Task[None] | None = None
        self._running = asyncio.Event()
        self._running.set()
        self._on_fault = on_fault
        self._senders = senders
        self._rewrite = rewrite
        self._pool: asyncpg.Pool | None = None
        self._client = _BusConnection(self)

    @property
    def frozen(self) -> bool:
        """Return whether it stands still."""
        return not self._running.is_set() and not self.dead

    @property
    def live(self) -> bool:
        """Return whether it works."""
        return not self.dead and not self.frozen

    async def start(self, database_url: str, bus_url: str) -> None:
        """Connect, and work until killed or stopped."""
        await self._client.connect(bus_url, allow_reconnect=False, connect_timeout=600)
        token = _owner.set(self)
        try:
            self.work = asyncio.create_task(self._run(database_url))
        finally:
            _owner.reset(token)

    async def _run(self, database_url: str) -> None:
        self._pool = await asyncpg.create_pool(
            database_url,
            min_size=1,
            max_size=8,
            max_inactive_connection_lifetime=0,
            connect=self._connect,
            connection_class=connection_class(self.statement, self),
            init=_set_up,
            reset=_keep_session,
            command_timeout=600,
        )
        worker = Worker(
            self._pool,
            RunnerClient(self._client, lambda: WORKER_KEY),
            Metrics(),
            WorkerSettings(
                planner=PlannerSettings(rules=RULES, acquire_timeout_s=100),
                firing=FiringSettings(worker=self.name, batch_wait_s=0.02, acquire_timeout_s=100),
                maintenance=MaintenanceSettings(
                    retention=Retention(runs=FOR_EVER, audit=FOR_EVER), batch=100_000
                ),
            ),
        )
        await worker.run(self.stopping)

    def kill(self) -> None:
        """End at once: nothing of it is done any more, its connections are gone."""
        self.dead = True
        self._running.set()
        for task in list(self.tasks):
            task.cancel()
        if self._pool is not None:
            self._pool.terminate()

    def freeze(self) -> None:
        """Stand still at the next step."""
        self._running.clear()

    def thaw(self) -> None:
        """Go on."""
        self._running.set()

    async def finish(self) -> None:
        """Wait for the end of what was killed or stopped, and close what is left."""
        if self._pool is not None and not self.dead:
            await self._pool.close()
        with suppress(Exception):  # what it says about its own end is of no interest
            await self._client.close()
        self.dead = True
        while self.tasks:
            for task in list(self.tasks):
                task.cancel()
            await asyncio.wait(self.tasks, timeout=1)

    async def _connect(self, *arguments: Any, **options: Any) -> asyncpg.Connection:
        async with self._turn("connect"):
            return await asyncpg.connect(*arguments, **options)

    def _turn(self, what: str) -> AbstractAsyncContextManager[None]:
        return self.turns.turn(self.name, what, lambda: self.live)

    async def step(
        self, what: str, work: Callable[[], Awaitable[T]], cut: Callable[[], None] | None = None
    ) -> T:
        """Do what has an effect, with the faults that are armed for it."""
        async with self._turn(what):
            fault = self._fault_at(what)
            if fault is None or fault.kind not in BEFORE:
                result = await self._busy(work)
        if fault is not None:
            await self._strike(fault.kind, what)
            if fault.kind in CUTS:
                raise _lost(cut)
            if fault.kind in BEFORE:
                async with self._turn(what):
                    result = await self._busy(work)
        if self.dead:
            raise asyncio.CancelledError
        return result

    async def _busy(self, work: Callable[[], Awaitable[T]]) -> T:
        if self.dead:
            raise asyncio.CancelledError
        self.busy += 1
        try:
            return await work()
        finally:
            self.busy -= 1

    def _fault_at(self, what: str) -> ArmedFault | None:
        self.steps += 1
        armed = self.armed
        if armed is None or armed.where not in what:
            return None
        if armed.kind in CUTS and what.startswith(SEND):
            return None  # the bus is cut by losing answers
        if armed.steps > 0:
            self.armed = ArmedFault(armed.kind, armed.steps - 1, armed.where)
            return None
        self.armed = None
        return armed

    async def _strike(self, kind: FaultKind, what: str) -> None:
        self._on_fault(self, kind, what)
        if kind in KILLS:
            self.kill()
            raise asyncio.CancelledError
        if kind in FREEZES:
            self.freeze()
            await self._running.wait()
            if self.dead:
                raise asyncio.CancelledError

    async def statement(
        self,
        connection: asyncpg.Connection,
        query: str,
        arguments: tuple[Any, ...],
        run: Callable[[str], Awaitable[T]],
    ) -> T:
        """Run a statement as a step."""
        found = OWNER.search(query)
        if found is not None:
            self.owners.add(arguments[int(found[1]) - 1])
        try:
            return await self.step(query, lambda: run(self._rewrite(query)), connection.terminate)
        except asyncpg.QueryCanceledError as error:  # by the one who gives out turns
            raise asyncpg.LockNotAvailableError("canceled: the lock timeout has passed") from error

    async def send(self, subject: str, reply: str, send: Callable[[], Awaitable[None]]) -> None:
        """Send a message as a step, which ends with its arrival."""
        self._senders[reply] = self

        async def arrive() -> None:
            self.turns.expect(reply)
            await send()

        await self.step(SEND + subject, arrive)

    def notify(self, channel: str, payload: str) -> None:
        """Tell those who listen on connections that are there."""
        for connection, listen in list(self.listeners.get(channel, ())):
            if connection.is_closed():
                self.listeners[channel].pop((connection, listen), None)
            else:
                listen(connection, 0, channel, payload)


class _BusConnection(NatsConnection):
    def __init__(self, process: Process) -> None:
        super().__init__()
        self._process = process

    async def subscribe_raw(self, subject: str, on_message: OnMessage) -> None:
        def arrive(subject: bytes, headers: bytes | None, body: bytes) -> None:
            on_message(subject, headers, body)
            self._process.turns.arrived(answer_to(subject.decode()))

        await super().subscribe_raw(subject, arrive)

    async def publish_raw(self, subject: str, reply: str, headers: bytes, body: bytes) -> None:
        send = super().publish_raw
        await self._process.send(subject, reply, lambda: send(subject, reply, headers, body))


Around = Callable[[asyncpg.Connection, str, tuple[Any, ...], Callable[[str], Awaitable[Any]]], Any]
"""Runs a statement of a connection, given with its arguments, or another one in its place."""


def connection_class(around: Around, process: Process | None = None) -> type[asyncpg.Connection]:
    """Return a class of connections with something around each statement.

    Those of a process hear of notifications from it, not from the server, whenever that may be.
    """

    class SimulatedConnection(asyncpg.Connection):
        async def add_listener(self, channel: str, callback: Any) -> None:
            assert process is not None
            await self.execute(f"LISTEN {channel}")
            process.listeners.setdefault(channel, {})[self, callback] = None

        async def remove_listener(self, channel: str, callback: Any) -> None:
            assert process is not None
            process.listeners[channel].pop((self, callback), None)

        def terminate(self) -> None:
            if process is not None and not self.is_closed():
                process.turns.leaves(self.get_server_pid())
            super().terminate()

        async def execute(self, query: str, *args: Any, **options: Any) -> Any:
            run = super().execute
            return await around(self, query, args, lambda query: run(query, *args, **options))

        async def fetch(self, query: str, *args: Any, **options: Any) -> Any:
            run = super().fetch
            return await around(self, query, args, lambda query: run(query, *args, **options))

        async def fetchrow(self, query: str, *args: Any, **options: Any) -> Any:
            run = super().fetchrow
            return await around(self, query, args, lambda query: run(query, *args, **options))

        async def fetchmany(self, query: str, args: Any, **options: Any) -> Any:
            run = super().fetchmany
            return await around(self, query, (), lambda query: run(query, args, **options))

        async def fetchval(self, query: str, *args: Any, **options: Any) -> Any:
            run = super().fetchval
            return await around(self, query, args, lambda query: run(query, *args, **options))

    return SimulatedConnection


def answer_to(reply: str) -> str:
    """Return by what the answer to a message is expected, given the subject for it."""
    return f"answer {reply}"


def _lost(cut: Callable[[], None] | None) -> Exception:
    if cut is not None:
        cut()
    return asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")


async def _set_up(connection: asyncpg.Connection) -> None:
    settings = session_defaults(SessionSettings(name="simulated", lock_timeout_ms=3_600_000))
    settings["search_path"] = SEARCH_PATH
    await connection.execute(SET_UP, msgspec.json.encode(settings).decode())
    await connection.fetchrow(ARRAYS, *[None] * 8)


async def _keep_session(_connection: asyncpg.Connection) -> None:
    return

"""One simulated world: a database, workers, a Runner, and a clock that is moved step by step."""

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

import asyncpg

from service.rules.limits import Limits
from service.storage.runs.queue import SETTINGS
from service.storage.runs.queue_listener import PROBE_CHANNEL
from tests.simulation.oracle import Oracle, SlotTable
from tests.simulation.process import (
    ArmedFault,
    FaultKind,
    Process,
    Rewrite,
    connection_class,
)
from tests.simulation.scripted_runner import ScriptedRunner
from tests.simulation.simulated_clock import SEARCH_PATH, SimulatedClock, pass_time
from tests.simulation.turns import Turns
from tests.simulation.violations import Tally, ViolationKind
from tests.simulation.zone_releases import zone
from tests.support.admin import Admin, operator
from tests.support.callers import connected
from tests.support.host import dispatcher

STEP = timedelta(seconds=1)
SLOW_GRAIN = timedelta(seconds=40)
IDLE_S = 0.05
"""How much of the loop's time passes while nobody has anything to do."""
FROZEN_ROUNDS = 20
LOOK_BACK = timedelta(days=2)
"""How far the clock may be set back from where a world, or its zone data, began."""
MOST_WORKERS = 2
MOST_LEFT = 60
"""At how many moments on end, a second apart at least, a job may be without its worker."""
LIMITS = Limits(
    changes_per_minute=1_000_000, max_schedules=100_000, manual_runs_per_minute=1_000_000
)

DATABASE = re.compile(r"\b(lost|unavailable)\b")
"""In the reason of a worker that ended because its database did."""

DUE = """
SELECT (SELECT count(*) FROM ext_scheduler.timers WHERE due_at <= simulated.now()) AS due,
  (SELECT count(*) FROM ext_scheduler.pgqueuer
    WHERE status = 'queued' AND execute_after < simulated.now()) AS waiting,
  ARRAY(SELECT queue_manager_id FROM ext_scheduler.pgqueuer WHERE status = 'picked') AS owners
"""

NEXT = """
SELECT least((SELECT min(due_at) FROM ext_scheduler.timers),
  (SELECT min(execute_after) FROM ext_scheduler.pgqueuer WHERE status = 'queued'),
  (SELECT min(heartbeat) + interval '31 seconds' FROM ext_scheduler.pgqueuer
    WHERE status = 'picked'))
"""

WAITING = """
SELECT count(*) FROM ext_scheduler.pgqueuer
"""

LOCKED = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND state LIKE 'idle in transaction%'
"""

RUNNING = "SELECT id, attempts FROM ext_scheduler.runs WHERE status = 'running'"

TIMERS = "SELECT schedule_id, due_at FROM ext_scheduler.timers"


class Simulation:
    """The parts of a world, and the steps that move it."""

    def __init__(
        self,
        seed: int,
        database_url: str,
        bus_url: str,
        control: asyncpg.Connection,
        began: datetime,
        rewrite: Rewrite,
    ) -> None:
        self.seed = seed
        self.random = Random(seed)
        self.clock = SimulatedClock(control)
        self.control = control
        self.turns = Turns(seed, control)
        self.began = began
        self.oracle = Oracle(SlotTable(began - LOOK_BACK, zone))
        self.tally = Tally()
        self.trace: list[str] = []
        self.senders: dict[str, Process] = {}
        self.processes: list[Process] = []
        self.manual: dict[UUID, UUID] = {}
        """Schedules by their manual runs."""
        self.claimed: set[tuple[UUID, int]] = set()
        """Attempts under way when their schedule stopped to fire: they may still be called."""
        self.accounted = began
        """Until when the account was judged, and how many slots were ``decided`` by then."""
        self.decided = 0
        self.set_back = False
        self._stood_still = False
        self._urls = (database_url, bus_url)
        self._rewrite = rewrite
        self._started = 0
        self._left = 0
        self._notified: list[tuple[str, str]] = []
        self.runner: ScriptedRunner
        self.admin: Admin

    @property
    def frozen(self) -> bool:
        """Return whether a worker stands still."""
        return any(process.frozen for process in self.processes)

    def note(self, text: str) -> None:
        """Add a line to what is shown with a violation."""
        self.trace.append(f"{self.clock.now:%Y-%m-%d %H:%M:%S.%f} {text}")

    def is_active(self, schedule_id: UUID, run_id: UUID, attempt: int) -> bool:
        """Return whether this attempt of a run may be called now."""
        schedule = self.oracle.schedules.get(schedule_id)
        if schedule is None:
            return False
        if (run_id, attempt) in self.claimed or self.oracle.fires(schedule):
            return True
        return run_id in self.manual and self.oracle.runs_by_hand(schedule)

    def number(self, schedule_id: UUID) -> int:
        """Return as which one of all schedules this one was made; its id is not the seed's."""
        schedule = self.oracle.schedules.get(schedule_id)
        return -1 if schedule is None else schedule.number

    async def start_worker(self) -> Process:
        """Start one more worker."""
        self._started += 1
        process = Process(
            f"worker-{self._started}", self._on_fault, self.senders, self._rewrite, self.turns
        )
        await process.start(*self._urls)
        self.processes.append(process)
        return process

    def _on_fault(self, process: Process, kind: FaultKind, what: str) -> None:
        self.tally.counts[kind.value] += 1
        self.note(f"{process.name} {kind.value}: {' '.join(what.split())[:100]}")
        if process.frozen or "frozen" in kind.value:
            self._stood_still = True

    def arm(self, fault: ArmedFault) -> None:
        """Arm a fault for a worker that lives."""
        live = [process for process in self.processes if process.live]
        if live:
            self.random.choice(live).armed = fault

    async def move(self, now: datetime) -> None:
        """Set the clock, and let the workers do what is due then."""
        await self.clock.set(now)
        await self.settle()

    async def settle(self) -> None:
        """Wait until the workers have done what is due, and decide what that had to be."""
        if await self.quiesce() and not self.frozen:
            timers = {row["schedule_id"]: row["due_at"] for row in await self._timers_ahead()}
            self.oracle.settle(self.clock.now, timers, exact=not self._stood_still)
            self._stood_still = False

    async def _timers_ahead(self) -> list[asyncpg.Record]:
        """Return the timers where the clock was once ahead of now: they may be computed again."""
        ahead = self.oracle.ahead(self.clock.now)
        return await self.control.fetch(TIMERS) if ahead else []

    async def step_back(self, by: timedelta) -> None:
        """Set the clock back. The Runner ends what it has before."""
        self.runner.finish_all()
        await self.settle()
        self.runner.finish_all()  # what was called meanwhile is over by the clocks of machines
        now = self.clock.now - by
        self.note(f"the clock is set back to {now:%Y-%m-%d %H:%M:%S}")
        if self.frozen:
            for schedule in self.oracle.schedules.values():
                self.oracle.doubt(schedule, self.clock.now)
        self.oracle.step_back(now)
        self.set_back = True
        await self.move(now)

    async def quiesce(self) -> bool:
        """Wait until nobody who lives has anything to do; False where that does not happen."""
        calm = idle = 0
        for count in range(4_000):
            await self._replace_ended()
            await self.runner.send_due()
            await self.turns.arrivals()
            await self.clock.tick()
            row = await self.control.fetchrow(DUE)
            assert row is not None
            self._notify()
            live = [process for process in self.processes if process.live]
            owners = {owner for process in live for owner in process.owners}
            picked = sum(owner in owners for owner in row["owners"])
            waiting = sum(self.runner.waiting(process) for process in live)
            busy = any(process.busy for process in live)
            done = row["due"] == 0 and row["waiting"] == 0 and picked <= waiting and not busy
            calm = calm + 1 if done else 0
            if calm >= 2:
                return True
            idle = 0 if busy else idle + 1
            if idle >= 2:
                pass_time(IDLE_S)
            if self.frozen and count > FROZEN_ROUNDS:
                return False  # what is left waits for the one that stands still
            await self.turns.rest()
        seen = list(row or ())
        self.tally.found(ViolationKind.STUCK, f"due, waiting, owners of jobs: {seen}")
        return False

    async def hear(self) -> None:
        """Begin to hear of notifications, for the workers."""
        for channel in (SETTINGS.channel, PROBE_CHANNEL):
            await self.control.add_listener(channel, self._on_notification)

    def _on_notification(self, *notification: Any) -> None:
        self._notified.append(notification[2:])

    def _notify(self) -> None:
        """Pass on what the last statement heard of: at the same moment in each repetition."""
        heard, self._notified = self._notified, []
        for channel, payload in heard:
            for process in self.processes:
                if not process.dead:
                    process.notify(channel, payload)

    async def _replace_ended(self) -> None:
        for process in list(self.processes):
            if not process.dead and process.work is not None and process.work.done():
                error = process.work.exception()
                self.note(f"{process.name} ended: {error!r}")
                self.tally.counts["worker ended by itself"] += 1
                if not isinstance(error, TimeoutError) and not DATABASE.search(str(error)):
                    self.tally.found(ViolationKind.ENDED, f"{process.name}: {error!r}")
                process.kill()
            if process.dead:
                self.processes.remove(process)
                await process.finish()
        if not any(process.live for process in self.processes):
            await self.start_worker()

    async def pass_until(self, target: datetime, grain: timedelta) -> None:
        """Move the clock on to ``target``, stopping at what is due, ``grain`` apart at least.

        Give up where nobody takes over what a worker has left.
        """
        while self.clock.now < target and self._left <= MOST_LEFT:
            following = await self.control.fetchval(NEXT)
            is_left = following is not None and following < self.clock.now and not self.frozen
            self._left = self._left + 1 if is_left else 0
            if self._left > MOST_LEFT:
                self.tally.found(ViolationKind.STUCK, f"nobody takes over a job of {following}")
            answers = self.runner.next_due()
            events = [each for each in (following, answers) if each is not None]
            event = min(events, default=target) + timedelta(milliseconds=2)
            least = SLOW_GRAIN if self.frozen else grain
            await self.move(min(max(event, self.clock.now + least), target))

    async def drain(self) -> None:
        """Let time pass until no call is in flight and no job waits; no worker stands still."""
        assert not self.frozen
        for _ in range(2_000):
            if not await self.control.fetchval(WAITING) and self.runner.next_due() is None:
                return
            if self._left > MOST_LEFT:
                return
            await self.pass_until(self.clock.now + timedelta(seconds=20), STEP)
        self.tally.found(ViolationKind.STUCK, "the queue does not become empty")

    async def thaw(self) -> None:
        """Let all go on that stand still."""
        for process in self.processes:
            process.armed = None
            if process.frozen:
                self.note(f"{process.name} goes on")
                process.thaw()
        await self.settle()
        while len(self.processes) > MOST_WORKERS:
            self.random.choice(self.processes).kill()
            await self._replace_ended()
            await self.turns.rest()

    async def locked(self) -> bool:
        """Return whether a worker stands still within a transaction."""
        return self.frozen and bool(await self.control.fetchval(LOCKED))

    async def hold_claimed(self) -> None:
        """Remember which runs are under way, before something stops schedules from firing."""
        rows = await self.control.fetch(RUNNING)
        self.claimed.update((row["id"], row["attempts"]) for row in rows)

    async def stop_workers(self) -> None:
        """Stop all workers, as asked to; they end what they have."""
        for process in self.processes:
            process.thaw()
            process.stopping.set()
        for _ in range(4_000):
            if all(process.work is None or process.work.done() for process in self.processes):
                break
            await self.runner.send_due()
            await self.turns.arrivals()
            await self.control.fetchrow(DUE)
            self._notify()
            pass_time(IDLE_S)
            await self.turns.rest()
        for process in self.processes:
            if process.work is None or not process.work.done():
                self.tally.found(ViolationKind.ENDED, f"{process.name} does not stop")
                process.kill()
            elif (error := process.work.exception()) is not None:
                self.note(f"{process.name} stopped with {error!r}")
            await process.finish()
        self.processes.clear()


@asynccontextmanager
async def simulated(
    seed: int,
    database_url: str,
    bus_url: str,
    began: datetime,
    rewrite: Rewrite = lambda query: query,
) -> AsyncIterator[Simulation]:
    """Yield a world without schedules; no worker is left afterwards."""
    async with AsyncExitStack() as stack:
        control = await asyncpg.connect(database_url)
        stack.push_async_callback(control.close)
        pool = await stack.enter_async_context(
            asyncpg.create_pool(
                database_url,
                min_size=1,
                max_size=10,
                server_settings={"search_path": SEARCH_PATH},
                connection_class=connection_class(
                    lambda _connection, query, _arguments, run: run(rewrite(query))
                ),
                max_inactive_connection_lifetime=0,
            )
        )
        client = await stack.enter_async_context(connected(bus_url))
        world = Simulation(seed, database_url, bus_url, control, began, rewrite)
        world.admin = operator(dispatcher(pool, LIMITS))
        world.runner = ScriptedRunner(
            client, world.clock, seed, world.senders, world.is_active, world.number, world.turns
        )
        await world.runner.start()
        await world.hear()
        await world.clock.set(began)
        try:
            yield world
        finally:
            for process in world.processes:
                process.kill()
                await process.finish()

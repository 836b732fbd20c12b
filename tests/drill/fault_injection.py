"""Fault injection: what is hit, when and for how long is drawn from one seed."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Collection, Iterator

from msgspec import Struct

from tests.drill import faults_of_bus, faults_of_database, faults_of_processes
from tests.drill.environment import DrillEnvironment
from tests.drill.history import DATABASE_CLOCK, Fault
from tests.drill.recording_runner import KILLED_BY_POISON
from tests.drill.rolling_upgrade import upgrade

MINUTE = 60.0
AWAY_S = 75.0
"""From shortly before one slot until long after the next: one of them is missed."""


class FaultKind(Struct, frozen=True):
    """A kind of fault: ``share`` of it in a round of all kinds.

    ``beside``: others are injected while it goes on, but no second one of such kinds.
    """

    name: str
    share: int
    inject: Callable[[DrillEnvironment, random.Random], Awaitable[bool]]
    beside: bool = False


KINDS = (
    FaultKind("worker killed", 5, faults_of_processes.kill_worker),
    FaultKind("responder killed", 3, faults_of_processes.kill_responder),
    FaultKind("worker stopped", 2, faults_of_processes.stop_worker),
    FaultKind("responder stopped", 2, faults_of_processes.stop_responder),
    FaultKind("worker frozen", 4, faults_of_processes.freeze_worker, beside=True),
    FaultKind("clock of a worker's host stepped", 3, faults_of_processes.step_clock, beside=True),
    FaultKind(KILLED_BY_POISON, 1, faults_of_processes.poison_bridges, beside=True),
    FaultKind("PostgreSQL restarted", 2, faults_of_database.restart),
    FaultKind("PostgreSQL host frozen", 2, faults_of_database.freeze_host),
    FaultKind("PostgreSQL disk full", 3, faults_of_database.fill_disk),
    FaultKind(DATABASE_CLOCK, 3, faults_of_database.step_clock, beside=True),
    FaultKind("rows locked for a minute", 1, faults_of_database.hold_locks, beside=True),
    FaultKind("connections frozen", 2, faults_of_database.freeze_connections),
    FaultKind("connections half-open", 2, faults_of_database.half_open),
    FaultKind("connections delayed", 2, faults_of_database.delay_connections),
    FaultKind("COMMIT answers lost", 3, faults_of_database.lose_commits),
    FaultKind("NATS cluster restarted", 2, faults_of_bus.restart_all),
    FaultKind("NATS server of three killed", 2, faults_of_bus.restart_one),
    FaultKind("NATS server of three frozen", 2, faults_of_bus.freeze_one),
    FaultKind("NATS server of three retired", 2, faults_of_bus.retire_one),
    FaultKind("NATS routes cut", 2, faults_of_bus.cut_routes),
    FaultKind("NATS routes frozen", 2, faults_of_bus.freeze_routes),
)


class FaultInjection:
    """Injects faults into an environment and records them."""

    def __init__(
        self, environment: DrillEnvironment, chance: random.Random, only: Collection[str] = ()
    ) -> None:
        self.faults: list[Fault] = []
        self._environment = environment
        self._chance = chance
        self._kinds = [kind for kind in KINDS if not only or kind.name in only]
        self._beside: asyncio.Task[None] | None = None

    async def outage(self, after_s: float) -> None:
        """After a while, keep all workers away for so long that slots are missed."""
        await asyncio.sleep(after_s)
        await asyncio.sleep((-time.time() - 3) % MINUTE)
        began = time.time()
        workers = [process for process in self._environment.processes if process.role == "worker"]
        for process in workers:
            process.away()
        await asyncio.sleep(AWAY_S)
        for process in workers:
            process.back()
        self._note("all workers away", began)

    async def fail_over(self, after_s: float) -> None:
        """After a while, kill or freeze the primary, and promote its standby."""
        await asyncio.sleep(after_s)
        frozen_first, began = self._chance.random() < 0.5, time.time()
        await faults_of_database.fail_over(self._environment, frozen_first=frozen_first)
        what = "frozen" if frozen_first else "killed"
        self._note(f"primary {what}, standby promoted", began)

    async def upgrade(self, duration_s: float) -> None:
        """Replace an earlier release; both work side by side for that many seconds."""
        self.faults += await upgrade(self._environment, duration_s)

    async def inject(self, until: float, gap_s: float, least: int = 0) -> None:
        """Inject one fault after another until then (Unix seconds), that far apart on average.

        It goes on until there were ``least`` faults.
        """
        for kind in self._drawn():
            wait = self._pause(time.time(), gap_s)
            if time.time() + wait > until and len(self.faults) >= least:
                break
            await asyncio.sleep(wait)
            if not kind.beside:
                await self._inject(kind)
                continue
            if self._beside is not None:
                await self._beside
            self._beside = asyncio.create_task(self._inject(kind))
        if self._beside is not None:
            await self._beside

    async def _inject(self, kind: FaultKind) -> None:
        began = time.time()
        if await kind.inject(self._environment, self._chance):
            self._note(kind.name, began)

    def _drawn(self) -> Iterator[FaultKind]:
        while True:
            deck = [kind for kind in self._kinds for _ in range(kind.share)]
            self._chance.shuffle(deck)
            yield from deck

    def _pause(self, now: float, gap_s: float) -> float:
        """Wait, mostly until slots are planned and fired: that is when most can go wrong."""
        wait = self._chance.uniform(0.1, 2 * gap_s - 0.1)
        to_slot = -now % MINUTE
        if wait > to_slot and self._chance.random() < 0.7:
            return to_slot + self._chance.uniform(0.0, 3.0)
        return wait

    def _note(self, kind: str, began: float) -> None:
        self.faults.append(Fault(kind, began, time.time()))

"""Fault injection: what is hit, when and for how long is drawn from one seed."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator

from devstack.embedded.servers import Server
from tests.drill.environment import DrillEnvironment
from tests.drill.history import Fault

MINUTE = 60.0
FROZEN_S = (7.0, 22.0)
"""Past the heartbeat (5 s), and at times past the lease of an attempt (16 s)."""
AWAY_S = 75.0
"""From shortly before one slot until long after the next: one of them is missed."""


class FaultInjection:
    """Injects faults into an environment and records them."""

    def __init__(self, environment: DrillEnvironment, chance: random.Random) -> None:
        self.faults: list[Fault] = []
        self._environment = environment
        self._chance = chance
        self._freezing: asyncio.Task[None] | None = None
        self._until = 0.0
        self._kinds: dict[Callable[[], Awaitable[None]], int] = {
            self._kill_worker: 6,
            self._kill_responder: 4,
            self._freeze_worker: 4,
            self._restart_postgres: 2,
            self._restart_nats: 4,
        }

    async def outage(self, after_s: float) -> None:
        """Some time from now no worker is there for so long that slots are missed."""
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

    async def inject(self, until: float, gap_s: float, least: int = 0) -> None:
        """One fault after another until then (Unix seconds), on average so many seconds apart.

        It goes on until there are at ``least`` so many.
        """
        self._until = until
        for kind in self._drawn():
            wait = self._pause(time.time(), gap_s)
            if time.time() + wait > until and len(self.faults) >= least:
                break
            await asyncio.sleep(wait)
            await kind()
        if self._freezing is not None:
            await self._freezing

    def _drawn(self) -> Iterator[Callable[[], Awaitable[None]]]:
        while True:
            deck = [kind for kind, count in self._kinds.items() for _ in range(count)]
            self._chance.shuffle(deck)
            yield from deck

    def _pause(self, now: float, gap_s: float) -> float:
        """Most of what can go wrong goes wrong while slots are planned and fired."""
        wait = self._chance.uniform(0.1, 2 * gap_s - 0.1)
        to_slot = -now % MINUTE
        if wait > to_slot and self._chance.random() < 0.7:
            return to_slot + self._chance.uniform(0.0, 3.0)
        return wait

    async def _kill_worker(self) -> None:
        self._kill("worker")

    async def _kill_responder(self) -> None:
        self._kill("responder")

    def _kill(self, role: str) -> None:
        if ready := self._environment.of(role):
            self._chance.choice(ready).kill()
            self._note(f"{role} killed", time.time())

    async def _freeze_worker(self) -> None:
        """It stands still while the drill goes on; one at a time."""
        if self._freezing is not None:
            await self._freezing
        if ready := self._environment.of("worker"):
            process = self._chance.choice(ready)
            began = time.time()
            process.freeze()

            async def thaw(after: float) -> None:
                await asyncio.sleep(after)
                process.thaw()
                self._note("worker frozen", began)

            most = max(self._until - began, FROZEN_S[0])
            seconds = min(self._chance.uniform(*FROZEN_S), most)
            self._freezing = asyncio.create_task(thaw(seconds))

    async def _restart_postgres(self) -> None:
        await self._restart("PostgreSQL restarted", self._environment.postgres.server)

    async def _restart_nats(self) -> None:
        await self._restart("NATS restarted", self._environment.nats.server)

    async def _restart(self, kind: str, server: Server) -> None:
        began = time.time()
        await asyncio.to_thread(server.kill)
        await asyncio.sleep(self._chance.uniform(0.0, 2.0))
        await asyncio.to_thread(server.start)
        self._note(kind, began)

    def _note(self, kind: str, began: float) -> None:
        self.faults.append(Fault(kind, began, time.time()))

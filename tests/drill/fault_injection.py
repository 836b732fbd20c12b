"""Fault injection: what is hit, when and for how long is drawn from one seed."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator

from devstack.embedded.servers import Server
from tests.drill.environment import DrillEnvironment
from tests.drill.history import Fault
from tests.drill.standby import promote
from tests.support.faulty_proxy import Disturbance
from tests.support.trouble import frozen, frozen_server

MINUTE = 60.0
SERVER_FROZEN_S = (3.0, 9.0)
LOST_COMMITS_S = (0.5, 2.5)
FROZEN_S = (7.0, 22.0)
"""Past the heartbeat (5 s), and at times past the lease of an attempt (16 s)."""
PROMOTED_AFTER_S = 2.0
"""How long it takes until the loss is noticed and the standby promoted."""
AWAY_S = 75.0
"""From shortly before one slot until long after the next: one of them is missed."""


class FaultInjection:
    """Injects faults into an environment and records them."""

    def __init__(self, environment: DrillEnvironment, chance: random.Random) -> None:
        self.faults: list[Fault] = []
        self._environment = environment
        self._chance = chance
        self._freezing: asyncio.Task[None] | None = None
        self._database = asyncio.Lock()
        self._until = 0.0
        self._kinds: dict[Callable[[], Awaitable[None]], int] = {
            self._kill_worker: 6,
            self._kill_responder: 4,
            self._freeze_worker: 4,
            self._restart_postgres: 2,
            self._restart_nats: 2,
            self._kill_nats_server: 3,
            self._freeze_nats_server: 3,
            self._freeze_postgres: 2,
            self._freeze_connections: 2,
            self._half_open: 2,
            self._delay_connections: 2,
            self._lose_commits: 4,
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

    async def fail_over(self, after_s: float) -> None:
        """Some time from now the primary is killed or frozen, and its standby promoted.

        The primary never comes back.
        """
        await asyncio.sleep(after_s)
        environment, frozen_first = self._environment, self._chance.random() < 0.5
        async with self._database:
            began, primary = time.time(), environment.postgres
            if frozen_first:
                with frozen_server(primary):
                    await self._promote()
                    await asyncio.to_thread(primary.server.kill)
            else:
                await asyncio.to_thread(primary.server.kill)
                await self._promote()
            what = "frozen" if frozen_first else "killed"
            self._note(f"primary {what}, standby promoted", began)

    async def _promote(self) -> None:
        environment = self._environment
        await asyncio.sleep(PROMOTED_AFTER_S)
        await promote(environment.standby)
        environment.postgres, environment.proxy = environment.standby, environment.standby_proxy

    async def inject(self, until: float, gap_s: float, least: int = 0) -> None:
        """One fault after another until then (Unix seconds), on average that many seconds apart.

        It goes on until there were ``least`` faults.
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
        async with self._database:
            await self._restart("PostgreSQL restarted", self._environment.postgres.server)

    async def _restart_nats(self) -> None:
        servers = [each.server for each in self._environment.nats.servers]
        await self._restart("NATS cluster restarted", *servers)

    async def _kill_nats_server(self) -> None:
        server = self._chance.choice(self._environment.nats.servers).server
        await self._restart("NATS server of three killed", server)

    async def _restart(self, kind: str, *servers: Server) -> None:
        began = time.time()
        await asyncio.gather(*(asyncio.to_thread(each.kill) for each in servers))
        await asyncio.sleep(self._chance.uniform(0.0, 2.0))
        await asyncio.gather(*(asyncio.to_thread(each.start) for each in servers))
        self._note(kind, began)

    async def _freeze_nats_server(self) -> None:
        server = self._chance.choice(self._environment.nats.servers).server
        began = time.time()
        with frozen([server.pid]):
            await asyncio.sleep(self._chance.uniform(*SERVER_FROZEN_S))
        self._note("NATS server of three frozen", began)

    async def _freeze_postgres(self) -> None:
        async with self._database:
            began = time.time()
            with frozen_server(self._environment.postgres):
                await asyncio.sleep(self._chance.uniform(*SERVER_FROZEN_S))
            self._note("PostgreSQL host frozen", began)

    async def _freeze_connections(self) -> None:
        await self._disturb("connections frozen", Disturbance.FROZEN, SERVER_FROZEN_S)

    async def _delay_connections(self) -> None:
        await self._disturb("connections delayed", Disturbance.DELAYED, SERVER_FROZEN_S)

    async def _lose_commits(self) -> None:
        await self._disturb("COMMIT answers lost", Disturbance.LOST_COMMITS, LOST_COMMITS_S)

    async def _disturb(
        self, kind: str, disturbance: Disturbance, seconds: tuple[float, float]
    ) -> None:
        began = time.time()
        self._environment.proxy.disturb(disturbance)
        await asyncio.sleep(self._chance.uniform(*seconds))
        self._environment.proxy.disturb(Disturbance.NONE)
        self._note(kind, began)

    async def _half_open(self) -> None:
        """New connections work at once; those that there were never answer again."""
        began = time.time()
        self._environment.proxy.half_open()
        self._note("connections half-open", began)

    def _note(self, kind: str, began: float) -> None:
        self.faults.append(Fault(kind, began, time.time()))

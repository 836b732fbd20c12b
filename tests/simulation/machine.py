"""The state machine: a world's population, and one random step after another."""

import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from datetime import datetime, timedelta
from random import Random

from msgspec import Struct

from tests.simulation.account import judge_account
from tests.simulation.changes import Population
from tests.simulation.judgement import judge
from tests.simulation.oracle import SlotTable
from tests.simulation.process import ArmedFault, FaultKind, Rewrite
from tests.simulation.seeded import seeded
from tests.simulation.simulated_clock import begin_to_count
from tests.simulation.simulation import LOOK_BACK, STEP, Simulation, simulated
from tests.simulation.violations import Tally
from tests.simulation.zone_releases import second_release, zone

SLOT_GRID = timedelta(minutes=5)
BEGINNINGS = (
    datetime.fromisoformat("2026-03-07T00:00Z"),
    datetime.fromisoformat("2026-03-28T00:00Z"),
    datetime.fromisoformat("2026-04-04T00:00Z"),
    datetime.fromisoformat("2026-10-03T00:00Z"),
    datetime.fromisoformat("2026-10-24T00:00Z"),
    datetime.fromisoformat("2026-10-31T00:00Z"),
    datetime.fromisoformat("2027-02-27T00:00Z"),
    datetime.fromisoformat("2028-02-28T00:00Z"),
    datetime.fromisoformat("2029-12-31T00:00Z"),
)
"""Just before clocks change somewhere, a month ends, or a year."""

PLACES = (
    "",
    "INSERT INTO ext_scheduler.runs",
    "COMMIT",
    "ext_scheduler.timers",
    "active_runs",
    "UPDATE ext_scheduler.runs",
    "UPDATE ext_scheduler.pgqueuer",
    "DELETE FROM ext_scheduler.pgqueuer",
    "outbox",
    "send ",
)
"""Parts of the steps at which faults happen; the first is of any."""


class WorldSize(Struct, frozen=True):
    """How large a world is, and how many slots it is to fire before it ends."""

    tenants: int = 8
    schedules: int = 1_000
    slots: int = 50_000
    seconds: float = 1e9
    """After how many seconds no further step is made."""


class Machine:
    """Makes the steps of one world."""

    def __init__(self, world: Simulation, size: WorldSize, zones: ExitStack) -> None:
        self.world = world
        self.random: Random = world.random
        self.population = Population(world, size.tenants)
        self.size = size
        self._zones = zones
        self._frozen_for = 0
        self._zones_changed = False

    async def run(self) -> None:
        """Make steps until enough slots were decided, then judge."""
        world = self.world
        await self.population.install()
        for _ in range(self.random.choice((1, 2, 2))):
            await world.start_worker()
        await world.settle()
        for _ in range(self.size.schedules):
            await self.population.create()
        steps, end_s = 0, time.monotonic() + self.size.seconds
        while (
            world.oracle.fired < self.size.slots
            and time.monotonic() < end_s
            and not world.tally.violations
        ):
            steps += 1
            await self.step()
        world.tally.counts["step"] += steps
        await self.finish()
        await judge(world)
        await judge_account(world)

    async def step(self) -> None:
        """Make one step."""
        world = self.world
        if world.frozen:
            self._frozen_for += 1
            if self._frozen_for > self.random.randint(1, 3):
                await world.thaw()
        if not world.frozen:
            self._frozen_for = 0
            if self.random.random() < 0.6:
                world.arm(self._fault())
        steps: dict[Callable[[], Awaitable[None]], int] = {
            self.walk: 60,
            self.change: 20,
            self.change_what_is_due: 6,
            self.be_late: 6,
            self.be_out: 4,
            self.step_back: 3,
            self.change_zones: 0 if self._zones_changed or world.frozen else 1,
        }
        [chosen] = self.random.choices(list(steps), list(steps.values()))
        await chosen()

    def _fault(self) -> ArmedFault:
        kind = self.random.choice(list(FaultKind))
        place = self.random.choice(PLACES)
        return ArmedFault(kind, self.random.randint(0, 3 if place else 60), place)

    async def walk(self) -> None:
        """Go on to the next slots, and some seconds beyond."""
        now = self.world.clock.now
        target = now - (now - BEGINNINGS[0]) % SLOT_GRID + SLOT_GRID
        target += timedelta(seconds=self.random.uniform(1, 20))
        grain = self.random.choice((STEP, STEP, timedelta(seconds=20), SLOT_GRID, SLOT_GRID))
        await self.world.pass_until(target, grain)

    async def be_late(self) -> None:
        """Go on to a time at which what is due is late."""
        late = timedelta(seconds=self.random.uniform(31, 900))
        await self.world.move(self._within_minute(self.world.clock.now + late))

    async def be_out(self) -> None:
        """Go on after hours, days or weeks in which nothing worked."""
        hours = self.random.choice((1, 2, 8, 26, 26, 75))
        if self.random.random() < 0.03:
            hours = 24 * self.random.choice((7, 14, 31))
        away = timedelta(hours=hours * self.random.uniform(0.5, 1))
        self.world.note(f"nothing works for {away}")
        await self.world.move(self._within_minute(self.world.clock.now + away))

    async def step_back(self) -> None:
        """Set the clock back by seconds, minutes or hours."""
        back = self.random.choice((2, 60, 600, 7_200, 100_000)) * self.random.uniform(0.1, 1)
        by = min(timedelta(seconds=back), self.world.clock.now - self.world.began)
        await self.world.step_back(by)
        self.world.tally.counts["clock set back"] += 1

    def _within_minute(self, now: datetime) -> datetime:
        # Not at its end: while the workers are busy, the clock must not reach the next minute.
        return now.replace(second=min(now.second, 50))

    async def change(self) -> None:
        """Make some changes while nothing is due."""
        if await self.world.locked():
            return
        for _ in range(self.random.randint(1, 12)):
            await self.population.change()
        await self.world.settle()

    async def change_what_is_due(self) -> None:
        """Make changes after slots are due, and before a worker looks."""
        world = self.world
        if world.frozen:
            return
        for process in world.processes:
            process.armed = None
            process.freeze()
        later = self._within_minute(world.clock.now + timedelta(minutes=self.random.uniform(1, 9)))
        await world.clock.set(later)
        for _ in range(self.random.randint(1, 8)):
            await self.population.change()
        await world.thaw()

    async def change_zones(self) -> None:
        """Stop everything, and start it again with another release of the time zone data."""
        world = self.world
        self._zones_changed = True
        await world.thaw()  # what a worker that stands still holds would never end
        await world.drain()
        await world.stop_workers()
        await judge_account(world)
        self._zones.enter_context(second_release())
        world.note("another release of the time zone data")
        world.tally.counts["zone data changed"] += 1
        began = world.clock.now - LOOK_BACK
        world.oracle.slots = SlotTable(began, lambda name: zone(name, True))
        world.oracle.change_zones(world.clock.now)
        await world.start_worker()
        await world.settle()

    async def finish(self) -> None:
        """Let everything end that has begun."""
        world = self.world
        await world.thaw()
        await world.drain()
        for _ in range(2):
            await world.pass_until(world.clock.now + timedelta(minutes=4), STEP)
            await world.drain()
        await world.settle()
        await world.stop_workers()


async def run_world(
    seed: int, size: WorldSize, database_url: str, bus_url: str, rewrite: Rewrite
) -> tuple[Tally, list[str]]:
    """Run one world; return what it did and found, and its trace."""
    began = Random(seed).choice(BEGINNINGS)
    began += timedelta(hours=Random(seed).uniform(0, 24))
    begin_to_count()
    with ExitStack() as zones, seeded(seed):
        async with simulated(seed, database_url, bus_url, began, rewrite) as world:
            await Machine(world, size, zones).run()
            world.tally.counts["step of a worker"] += world.turns.taken
            world.tally.digest = world.turns.digest
            return world.tally, world.trace

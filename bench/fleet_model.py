"""A discrete-event simulation of workers and PostgreSQL when many schedules are due at one slot.

Fed by what an occurrence costs in CPU, measured (``Costs``), and by the rules of the planner, the
permits and the batches; no time of a real run goes into it. CPUs are shared fairly between what
runs on them, and a worker is one thread. Times in seconds from the slot.
"""

from functools import partial

from msgspec import Struct

from bench.fleet_engine import Action, Cores, EventClock, Thread
from service.worker.direct_claims import ROOM_LOOK_S, ROOM_LOOKS
from service.worker.firing import FiringSettings
from service.worker.planner import PlannerSettings

FIRING, PLANNER = FiringSettings(), PlannerSettings()
WORKER_SHARES = {"plan": 0.27, "call": 0.48, "end": 0.19, "event": 0.06}
POSTGRES_SHARES = {"plan": 0.59, "end": 0.27, "event": 0.14}
"""The parts of an occurrence's CPU, as sampled: planning, call, result, event."""
QUEUED = 1.4
"""What one that went through the queue costs, in times of one that was claimed when planned."""
STATEMENTS = 8
"""Round trips of a planning transaction, between which worker and database take turns."""
CHUNK = 25
ROOM_WAIT_S = ROOM_LOOKS * ROOM_LOOK_S
EVENTS_AT_ONCE = 500
KEEPS_PACE_S = PLANNER.rules.late_after.total_seconds() / 3
"""How late planning may be and still keep pace with the calls."""
US = 1e-6


class Costs(Struct, frozen=True, kw_only=True):
    """What an occurrence costs each part in µs of CPU, and a commit in s of waiting."""

    worker_us: float
    postgres_us: float
    bus_us: float
    runner_us: float
    commit_s: float
    wal_bytes: float


class Fleet(Struct, frozen=True, kw_only=True):
    """What there is to fire with. ``shared``: all of it on the cores of PostgreSQL's machine."""

    workers: int
    postgres_cores: float
    shared: bool = False
    runner_s: float = 0.0
    """How long a Runner takes for a call."""


class Fired(Struct, frozen=True):
    """When the last call began and the last result was written, and lateness against the start."""

    planned_s: float
    done_s: float
    p50_s: float
    p99_s: float
    max_s: float
    worker_busy: float
    postgres_busy: float


class Herd:
    """What is due: ``size`` schedules whose starts are spread over whole seconds of a period."""

    def __init__(self, size: int, spread_s: int) -> None:
        self.size = size
        self.seconds = max(1, spread_s)
        self.taken = 0
        self.lateness: list[tuple[float, int]] = []
        self.planned_s = self.done_s = 0.0
        self.done = 0

    def due(self, now: float) -> int:
        """Return how many are due by now and not taken."""
        passed = min(self.seconds, int(now + 1e-9) + 1)
        return -(-self.size * passed // self.seconds) - self.taken

    def start_of(self, number: int) -> float:
        """Return when one starts, by its number."""
        return float(number * self.seconds // self.size) if self.seconds > 1 else 0.0

    def take(self, most: int, now: float) -> int:
        """Take some of what is due; return the number of the first."""
        first, self.taken = self.taken, self.taken + min(most, self.due(now))
        return first

    def percentile(self, share: float) -> float:
        """Return the lateness that a share of all keep."""
        seen = 0
        for late, many in sorted(self.lateness):
            seen += many
            if seen >= share * self.size:
                return late
        return max(self.lateness)[0]


class SimulatedWorker:
    """One worker process: a planner, calls within its permits, batches of results and events."""

    def __init__(
        self, clock: EventClock, herd: Herd, costs: Costs, fleet: Fleet, own: Cores, database: Cores
    ) -> None:
        self._clock = clock
        self._herd = herd
        self._costs = costs
        self._fleet = fleet
        self._loop = Thread(own)
        self._cores = own
        self._database = database
        self._limit = PLANNER.initial_batch
        self._in_flight = 0
        self._behind = False
        self._queued: list[tuple[int, int]] = []
        self._results = 0
        self._writing = 0
        self._events = 0
        self._publishing = False
        clock.at(0.0, self._plan)

    @property
    def _room(self) -> int:
        return FIRING.in_flight - self._in_flight

    def _plan(self, waited_s: float = 0.0) -> None:
        herd, now = self._herd, self._clock.now
        if herd.due(now) == 0:
            self._limit, self._behind = PLANNER.initial_batch, False
            if herd.taken < herd.size:
                self._clock.at(herd.start_of(herd.taken), self._plan)
            return
        keeps_pace = now - herd.start_of(herd.taken) < KEEPS_PACE_S
        waits = self._behind and keeps_pace and waited_s < ROOM_WAIT_S
        if waits and self._room < PLANNER.initial_batch:
            self._clock.at(now + ROOM_LOOK_S, lambda: self._plan(waited_s + ROOM_LOOK_S))
            return
        batch = min(self._limit, PLANNER.batch)
        if keeps_pace and self._room >= PLANNER.initial_batch:
            batch = min(batch, self._room)
        self._limit = 2 * batch
        first = herd.take(batch, now)
        many = herd.taken - first
        self._behind = many == batch
        claimed = min(many, self._room)
        self._in_flight += claimed
        self._round_trips(many, STATEMENTS, lambda: self._planned(first, claimed, many))

    def _round_trips(self, many: int, left: int, done: Action) -> None:
        if not left:
            self._clock.at(self._clock.now + self._costs.commit_s, done)
            return
        of_worker = many * self._costs.worker_us * US * WORKER_SHARES["plan"] / STATEMENTS
        of_database = many * self._costs.postgres_us * US * POSTGRES_SHARES["plan"] / STATEMENTS
        self._loop.run(
            of_worker,
            lambda: self._database.run(
                of_database, lambda: self._round_trips(many, left - 1, done)
            ),
        )

    def _planned(self, first: int, claimed: int, many: int) -> None:
        self._herd.planned_s = self._clock.now
        self._call(first, claimed)
        if many > claimed:
            self._queued.append((first + claimed, many - claimed))
        self._claim()
        self._plan()

    def _claim(self) -> None:
        """Take from the queue what there is room for, at what that costs more."""
        while self._queued and self._room:
            first, many = self._queued.pop(0)
            some = min(many, self._room, FIRING.batch_size)
            if some < many:
                self._queued.insert(0, (first + some, many - some))
            self._in_flight += some
            self._claim_queued(first, some)

    def _claim_queued(self, first: int, some: int) -> None:
        more = (QUEUED - 1) * US * some
        self._loop.run(
            more * self._costs.worker_us,
            lambda: self._database.run(
                more * self._costs.postgres_us, lambda: self._call(first, some)
            ),
        )

    def _call(self, first: int, many: int) -> None:
        for begin in range(first, first + many, CHUNK):
            some = min(CHUNK, first + many - begin)
            cpu_s = some * self._costs.worker_us * US * WORKER_SHARES["call"]
            self._loop.run(cpu_s, partial(self._called, begin, some))

    def _called(self, begin: int, some: int) -> None:
        late = self._clock.now - self._herd.start_of(begin)
        self._herd.lateness.append((late, some))
        outside = some * (self._costs.bus_us + self._costs.runner_us) * US
        cores = self._cores if self._fleet.shared else Cores(self._clock, 1)
        answered = self._fleet.runner_s
        cores.run(
            outside,
            lambda: self._clock.at(self._clock.now + answered, lambda: self._answered(some)),
        )

    def _answered(self, some: int) -> None:
        self._results += some
        self._clock.at(self._clock.now + FIRING.batch_wait_s, self._write)

    def _write(self) -> None:
        if not self._results or self._writing >= FIRING.batch_lanes:
            return
        many = min(self._results, FIRING.batch_size)
        self._results -= many
        self._writing += 1
        self._loop.run(
            many * self._costs.worker_us * US * WORKER_SHARES["end"],
            lambda: self._database.run(
                many * self._costs.postgres_us * US * POSTGRES_SHARES["end"],
                lambda: self._clock.at(
                    self._clock.now + self._costs.commit_s, lambda: self._written(many)
                ),
            ),
        )

    def _written(self, many: int) -> None:
        self._writing -= 1
        self._in_flight -= many
        self._herd.done += many
        self._herd.done_s = self._clock.now
        self._events += many
        self._write()
        self._claim()
        self._publish()

    def _publish(self) -> None:
        if self._publishing or not self._events:
            return
        many = min(self._events, EVENTS_AT_ONCE)
        self._events -= many
        self._publishing = True
        self._database.run(
            many * self._costs.postgres_us * US * POSTGRES_SHARES["event"],
            lambda: self._loop.run(
                many * self._costs.worker_us * US * WORKER_SHARES["event"], self._published
            ),
        )

    def _published(self) -> None:
        self._publishing = False
        self._publish()


def simulate(size: int, costs: Costs, fleet: Fleet, spread_s: int = 0) -> Fired:
    """Fire a herd once."""
    clock, herd = EventClock(), Herd(size, spread_s)
    database = Cores(clock, fleet.postgres_cores)
    machines = [database if fleet.shared else Cores(clock, 1) for _ in range(fleet.workers)]
    for cores in machines:
        SimulatedWorker(clock, herd, costs, fleet, cores, database)
    clock.run()
    assert herd.done == size, (herd.done, size)
    return Fired(
        planned_s=herd.planned_s,
        done_s=herd.done_s,
        p50_s=herd.percentile(0.5),
        p99_s=herd.percentile(0.99),
        max_s=herd.percentile(1.0),
        worker_busy=size * costs.worker_us * US / fleet.workers / herd.done_s,
        postgres_busy=size * costs.postgres_us * US / fleet.postgres_cores / herd.done_s,
    )

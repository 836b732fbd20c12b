"""Simulated time: events in order, cores that are shared, and threads that run on them."""

import heapq
from collections import deque
from collections.abc import Callable
from itertools import count

Action = Callable[[], None]


class EventClock:
    """The events to come, in order."""

    def __init__(self) -> None:
        self.now = 0.0
        self._events: list[tuple[float, int, Action]] = []
        self._numbers = count()

    def at(self, time: float, action: Action) -> None:
        """Schedule an action for a time."""
        heapq.heappush(self._events, (time, next(self._numbers), action))

    def run(self) -> None:
        """Run all actions in the order of their times."""
        while self._events:
            self.now, _, action = heapq.heappop(self._events)
            action()


class Cores:
    """Cores that are shared fairly: with more jobs than cores, each runs slower."""

    def __init__(self, clock: EventClock, cores: float) -> None:
        self._clock = clock
        self._cores = cores
        self._jobs: list[tuple[float, int, Action]] = []
        self._numbers = count()
        self._served = 0.0
        self._at = 0.0
        self._turn = 0

    def run(self, cpu_s: float, done: Action) -> None:
        """Use so much CPU time of one core, then go on."""
        self._advance()
        heapq.heappush(self._jobs, (self._served + cpu_s, next(self._numbers), done))
        self._schedule()

    @property
    def _speed(self) -> float:
        return min(1.0, self._cores / len(self._jobs)) if self._jobs else 0.0

    def _advance(self) -> None:
        passed = self._clock.now - self._at
        self._served += passed * self._speed
        self._at = self._clock.now

    def _schedule(self) -> None:
        self._turn += 1
        if self._jobs:
            turn, wait = self._turn, max(0.0, self._jobs[0][0] - self._served) / self._speed
            self._clock.at(self._clock.now + wait, lambda: self._finish(turn))

    def _finish(self, turn: int) -> None:
        if turn != self._turn:
            return  # others came or went since
        self._advance()
        _, _, done = heapq.heappop(self._jobs)
        self._schedule()
        done()


class Thread:
    """A process' event loop: one task after the other, on one core."""

    def __init__(self, cores: Cores) -> None:
        self._cores = cores
        self._waiting: deque[tuple[float, Action]] = deque()
        self._runs = False

    def run(self, cpu_s: float, done: Action) -> None:
        """Use so much CPU time when it is its turn, then go on."""
        self._waiting.append((cpu_s, done))
        if not self._runs:
            self._next()

    def _next(self) -> None:
        self._runs = bool(self._waiting)
        if self._runs:
            cpu_s, done = self._waiting.popleft()
            self._cores.run(cpu_s, lambda: self._ended(done))

    def _ended(self, done: Action) -> None:
        done()
        self._next()

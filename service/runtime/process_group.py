"""Several processes that serve as one: started together, supervised, with one port for all."""

import asyncio
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from logging import getLogger
from pathlib import Path

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

from service.runtime.child_process import ChildProcess
from service.runtime.errors import CannotServeError, ProcessFailedError
from service.runtime.health import HealthCheck
from service.runtime.logs import fields
from service.runtime.merged_metrics import MergedMetrics
from service.runtime.metrics import RESTARTS
from service.runtime.resources import health, life_checks
from service.runtime.settings import Settings
from service.runtime.shutdown import BEYOND_DRAIN_S, stop_signal, until_stopped
from service.runtime.supervision import supervised

log = getLogger(__name__)

LOOK_S = 5.0
"""Between two looks at the processes: what one counted in the last of them is lost with it."""
MAX_DELAY_S = 30.0
STEADY_S = 60.0
"""A process that served for so long did not fail at its start."""
MAX_FAILURES = 5
"""Failures of one process in a row that end the group."""
BEYOND_CHILDREN_S = 2.0
"""How much longer than each of its processes the group may take to stop."""
STOPPED_STATUSES = (0, -signal.SIGTERM)
"""Exit statuses of processes that were asked to stop; the second is of one that was starting."""
GROUP = "group"
PREFIX = "serve-ext-scheduler-"
"""Unlike the development stack's, which removes what earlier runs of its own left behind."""


class ProcessGroup:
    """Keeps ``count`` processes of one command running until ``stopping`` is set."""

    def __init__(
        self,
        words: Sequence[str],
        count: int,
        directory: Path,
        lifeline: int,
        stopping: asyncio.Event,
    ) -> None:
        self.metrics = MergedMetrics()
        self.children = [
            ChildProcess(number, words, directory, lifeline) for number in range(1, count + 1)
        ]
        self._stopping = stopping
        self._started = False
        self._restarts = 0
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)

    async def keep(self, child: ChildProcess) -> None:
        """Run a process, again and again. Raises CannotServeError when that does not help."""
        failures = 0
        while True:
            status = await child.run()
            self.metrics.ended(child.name)
            if self._stopping.is_set():
                if status in STOPPED_STATUSES:
                    return
                raise ProcessFailedError(f"{child.name} ended with status {status}", status)
            if not self._started:
                raise ProcessFailedError(
                    f"{child.name} ended at its start with status {status}: its log states why",
                    status,
                )
            failures = 1 if child.served_s >= STEADY_S else failures + 1
            if failures >= MAX_FAILURES:
                raise ProcessFailedError(
                    f"{child.name} ended {failures} times in a row within {STEADY_S:g} s of its"
                    f" start, the last time with status {status}: its log states why",
                    status,
                )
            self._restarts += 1
            delay_s = min(2.0 ** (failures - 1), MAX_DELAY_S)
            log.error(
                "process ended, starting another",
                extra=fields(process=child.name, status=status, delay_s=delay_s),
            )
            await asyncio.wait({asyncio.create_task(self._stopping.wait())}, timeout=delay_s)
            if self._stopping.is_set():
                return

    def stop(self) -> None:
        """Have every process stop, and no other take its place."""
        self._stopping.set()
        for child in self.children:
            child.signal(signal.SIGTERM)

    async def until_ready(self) -> None:
        """Wait until every process has been ready."""
        for child in self.children:
            await child.ready.wait()
        self._started = True

    async def look(self) -> None:
        """Watch over the processes, and read what they have counted, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            for child in self.children:
                child.watch()
            await self.exposition()

    async def exposition(self) -> bytes:
        """Return the metrics of all processes; of one that does not answer, the last known."""
        answers = await asyncio.gather(*(child.exposition() for child in self.children))
        for child, text in zip(self.children, answers, strict=True):
            if text is not None:
                self.metrics.update(child.name, text)
        own = generate_latest(self._registry).decode()
        self.metrics.update(GROUP, f"{own}# TYPE {RESTARTS} counter\n{RESTARTS} {self._restarts}\n")
        return self.metrics.exposition()

    def check_of(self, child: ChildProcess) -> HealthCheck:
        """Return a check that passes when all of a process' own do."""

        async def check() -> None:
            checks = await child.checks()
            if checks is None:
                raise CannotServeError("the process does not answer")
            faults = [f"{name}: {state}" for name, state in checks.items() if state != "ok"]
            if faults:
                raise CannotServeError("; ".join(faults))

        return check


async def serve_group(settings: Settings, words: Sequence[str], count: int) -> None:
    """Serve with ``count`` processes of a command until SIGTERM or SIGINT, then stop them all.

    Raises CannotServeError when a process cannot start, or ends again and again.
    """
    drain_s = settings.drain_timeout_s + BEYOND_DRAIN_S
    stopping, started = stop_signal(drain_s + BEYOND_CHILDREN_S), asyncio.Event()
    checks = life_checks(started, stopping)
    with _directory() as directory, _lifeline() as lifeline:
        group = ProcessGroup(words, count, directory, lifeline, stopping)
        checks |= {child.name: group.check_of(child) for child in group.children}
        async with (
            health(settings, group.exposition, checks) as port,
            _kept(group, drain_s) as all_,
        ):
            ready = asyncio.create_task(group.until_ready())
            looking = asyncio.create_task(group.look())
            try:
                await until_stopped(stopping, *all_, ready)
                if stopping.is_set():
                    return
                async with supervised():
                    started.set()
                    log.info("serving", extra=fields(processes=count, http_port=port))
                    await until_stopped(stopping, *all_, looking)
                    log.info("stopping", extra=fields(processes=count))
            finally:
                ready.cancel()
                looking.cancel()


@asynccontextmanager
async def _kept(group: ProcessGroup, drain_s: float) -> AsyncIterator[list[asyncio.Task[None]]]:
    """Keep the processes running within the context, then stop them, and kill those that stay."""
    keeping = [asyncio.create_task(group.keep(child)) for child in group.children]
    try:
        yield keeping
    finally:
        group.stop()
        _, left = await asyncio.wait(keeping, timeout=drain_s)
        for child in group.children if left else ():
            child.signal(signal.SIGKILL)
        await asyncio.wait(keeping)
        failed = [error for task in keeping if (error := task.exception()) is not None]
    if failed:
        raise failed[0]


@contextmanager
def _directory() -> Iterator[Path]:
    """Provide a directory of this process' own for the sockets."""
    try:
        with tempfile.TemporaryDirectory(prefix=PREFIX) as name:
            yield Path(name)
    except FileNotFoundError as error:
        raise CannotServeError(f"no directory for the processes' sockets: {error}") from None


@contextmanager
def _lifeline() -> Iterator[int]:
    """Provide the reading end of a pipe that ends with this process."""
    reading, writing = os.pipe()
    try:
        yield reading
    finally:
        os.close(reading)
        os.close(writing)

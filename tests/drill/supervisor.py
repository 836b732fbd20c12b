"""Keep processes running, as a supervisor in production would, and record their exits."""

import asyncio
import re
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import aiohttp

from service.runtime.shutdown import first_of
from tests.drill.history import Exit, Span
from tests.support.responders import Process, start

POLL_INTERVAL_S = 0.05
ANSWER_WITHIN_S = 5.0
PAUSE_S = 0.3
PORT_TAKEN = re.compile(r"cannot listen on .* address already in use")
SHOWN = 800
"""Characters of a log."""


class SupervisedProcess:
    """One process of a role, restarted whenever it exits, until it is stopped.

    ``ended`` is set when that is over, because it was stopped or cannot be started.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        settings: dict[str, str],
        variables: dict[str, str] | None = None,
    ) -> None:
        self.name = name
        self.command = command
        self.ready = asyncio.Event()
        self.ended = asyncio.Event()
        self.spans: list[Span] = []
        self.exits: list[Exit] = []
        self._settings = settings
        self._variables = variables
        self._process: Process | None = None
        self._frozen: Process | None = None
        self._since: float | None = None
        self._was_ready = False
        self._cause = "itself"
        self._stopping = asyncio.Event()
        self._allowed = asyncio.Event()
        self._allowed.set()

    @property
    def role(self) -> str:
        """Return what the process does."""
        return self.name.split()[0]

    async def supervise(self, directory: Path) -> None:
        """Restart the process until it is stopped."""
        try:
            while not self._stopping.is_set():
                await first_of(self._allowed, self._stopping)
                if not self._stopping.is_set():
                    await self._run_once(directory)
                    await self._pause()
        finally:
            self.ended.set()

    async def _run_once(self, directory: Path) -> None:
        self._cause, self._was_ready = "itself", False
        process = self._process = start(
            self.role, directory, self._settings, self.command, self._variables
        )
        beside = [
            asyncio.create_task(self._watch(process)),
            asyncio.create_task(self._end_when_told(process)),
        ]
        try:
            status = await _ended(process)
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
        self._out()
        if not self._lost_its_port(process):
            self.exits.append(self._exit(process, status))

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(PAUSE_S):
                await self._stopping.wait()
        except TimeoutError:
            return

    async def _watch(self, process: Process) -> None:
        patience = aiohttp.ClientTimeout(total=ANSWER_WITHIN_S)
        async with aiohttp.ClientSession(timeout=patience) as session:
            while not await _is_ready(session, process):  # noqa: ASYNC110 - no event out there
                await asyncio.sleep(POLL_INTERVAL_S)
        self._in()

    async def _end_when_told(self, process: Process) -> None:
        """Ask it to end; not before it is ready, when it may not yet have learnt to end well."""
        await self._stopping.wait()
        await self.ready.wait()
        self._terminate(process)

    def terminate(self) -> None:
        """Ask it to end, as a deployment does that replaces it; it is started again."""
        if self._process is not None:
            self._terminate(self._process)

    def _terminate(self, process: Process) -> None:
        if process.popen.poll() is None:
            self._out()
            if not _told(process):  # else it is on its way out already
                self._cause = "stopped"
            process.popen.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a crash would; if it has just ended by itself, that is what it did."""
        self._out()
        if self._process is not None and self._process.popen.poll() is None:
            self._cause = "killed"
            self._process.popen.kill()

    def end(self) -> None:
        """Kill it if it still runs, and wait until it is gone."""
        self.kill()
        if self._process is not None:
            self._process.popen.wait(10)

    def away(self) -> None:
        """Kill it, and do not start it again for now."""
        self._allowed.clear()
        self.kill()

    def back(self) -> None:
        """Start it again."""
        self._allowed.set()

    def freeze(self) -> None:
        """Let it stand still, its connections open."""
        assert self._process is not None
        self._out()
        self._frozen = self._process
        self._process.popen.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on, if it is still the one that was frozen."""
        if self._frozen is not None and self._frozen.popen.poll() is None:
            self._frozen.popen.send_signal(signal.SIGCONT)
            self._in()
        self._frozen = None

    def stop(self) -> None:
        """Ask it to end, whatever it does at the moment, and start it no more."""
        self._stopping.set()

    def account(self) -> str:
        """Return what is known of it, for a person who wonders why it does not end."""
        ends = [f"{each.cause} {each.status}" for each in self.exits]
        if self._process is None:
            return f"{self.name} was never started"
        state = "runs" if self._process.popen.poll() is None else "has ended"
        said = self._process.log.read_text(errors="replace")[-SHOWN:].strip()
        return f"{self.name} {state}, cause {self._cause}, ends before: {ends}; it said: {said}"

    def _in(self) -> None:
        self._since, self._was_ready = time.time(), True
        self.ready.set()

    def _out(self) -> None:
        self.ready.clear()
        if self._since is not None:
            self.spans.append(Span(self._since, time.time()))
            self._since = None

    def _lost_its_port(self, process: Process) -> bool:
        """Return whether another program of this machine took the port that was free for it.

        Such a start says nothing of the process; the next one has another port.
        """
        said = _told(process)
        return not self._was_ready and bool(said) and PORT_TAKEN.search(said[-1]) is not None

    def _exit(self, process: Process, status: int) -> Exit:
        said = process.log.read_text(errors="replace")
        lines = said.strip().splitlines() or [""]
        words = (_told(process) or lines)[-1]  # the interpreter may log more on its way out
        # A signal that came too late is not why it ended.
        beaten = self._cause == "killed" and status != -signal.SIGKILL
        return Exit(
            name=self.name,
            at=time.time(),
            cause="itself" if beaten else self._cause,
            status=status,
            words=words[:300],
            traceback="\nTraceback" in said,
            was_ready=self._was_ready,
        )


def _told(process: Process) -> list[str]:
    """Return what it said of why it ends."""
    lines = process.log.read_text(errors="replace").splitlines()
    return [line for line in lines if line.startswith("ext-scheduler: ")]


async def _is_ready(session: aiohttp.ClientSession, process: Process) -> bool:
    try:
        async with session.get(f"{process.url}/readyz") as response:
            return response.status == 200
    except (aiohttp.ClientError, TimeoutError):
        return False


async def _ended(process: Process) -> int:
    """Wait for its end; return its exit status."""
    while True:
        status = process.popen.poll()
        if status is not None:
            return status
        await asyncio.sleep(POLL_INTERVAL_S)

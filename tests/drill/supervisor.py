"""Keeps processes running, as a supervisor in production would, and notes what became of them."""

import asyncio
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import aiohttp

from tests.drill.history import Exit, Span
from tests.support.responders import Process, start

LOOK_EVERY_S = 0.05
PAUSE_S = 0.3


class Kept:
    """One process of a role, started anew whenever it ends, until it is stopped."""

    def __init__(self, name: str, command: Sequence[str], settings: dict[str, str]) -> None:
        self.name = name
        self.ready = asyncio.Event()
        self.spans: list[Span] = []
        self.exits: list[Exit] = []
        self._command = command
        self._settings = settings
        self._process: Process | None = None
        self._frozen: Process | None = None
        self._since: float | None = None
        self._cause = "itself"
        self._allowed = asyncio.Event()
        self._allowed.set()

    @property
    def role(self) -> str:
        """What the process does."""
        return self.name.split()[0]

    async def keep(self, directory: Path) -> None:
        """Start it again and again; ends once it was stopped."""
        while self._cause != "stopped":
            await self._allowed.wait()
            self._cause = "itself"
            self._process = start(self.role, directory, self._settings, self._command)
            watching = asyncio.create_task(self._watch(self._process))
            status = await _ended(self._process)
            watching.cancel()
            self._out()
            self.exits.append(self._exit(self._process, status))
            await asyncio.sleep(PAUSE_S)

    async def _watch(self, process: Process) -> None:
        async with aiohttp.ClientSession() as session:
            while not self.ready.is_set():
                try:
                    async with session.get(f"{process.url}/readyz") as response:
                        if response.status == 200:
                            self._in()
                except aiohttp.ClientError:
                    await asyncio.sleep(LOOK_EVERY_S)

    def kill(self) -> None:
        """End it as a crash would."""
        assert self._process is not None
        self._out()
        self._cause = "killed"
        self._process.popen.kill()

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
        """Ask it to end."""
        assert self._process is not None
        self._out()
        self._cause = "stopped"
        self._process.popen.send_signal(signal.SIGTERM)

    def _in(self) -> None:
        self._since = time.time()
        self.ready.set()

    def _out(self) -> None:
        self.ready.clear()
        if self._since is not None:
            self.spans.append(Span(self._since, time.time()))
            self._since = None

    def _exit(self, process: Process, status: int) -> Exit:
        said = process.log.read_text(errors="replace")
        lines = said.strip().splitlines() or [""]
        told = [line for line in lines if line.startswith("ext-scheduler: ")]
        words = (told or lines)[-1]  # the interpreter may have more to log on its way out
        return Exit(
            name=self.name,
            at=time.time(),
            cause=self._cause,
            status=status,
            words=words[:300],
            traceback="\nTraceback" in said,
        )


async def _ended(process: Process) -> int:
    """Wait for its end; return its exit status."""
    while True:
        status = process.popen.poll()
        if status is not None:
            return status
        await asyncio.sleep(LOOK_EVERY_S)

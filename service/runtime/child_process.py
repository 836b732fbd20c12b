"""A process of a group: started, watched, asked over its socket, and stopped."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from logging import getLogger
from pathlib import Path
from time import monotonic
from typing import Any

import aiohttp

from service.runtime.health import UNIX
from service.runtime.logs import fields
from service.runtime.settings_sources import PREFIX

log = getLogger(__name__)

ANSWER_TIMEOUT_S = 5.0
WATCHDOG_S = 30.0
"""How long the event loop of a process may stand still."""


class ChildProcess:
    """One place in a group; the process in it may be replaced.

    ``lifeline`` is the reading end of a pipe: at its end a process knows that its parent is gone.
    """

    def __init__(self, number: int, words: Sequence[str], directory: Path, lifeline: int) -> None:
        self.name = f"process {number}"
        self.ready = asyncio.Event()
        self._words = words
        self._lifeline = lifeline
        self._health = directory / f"{number}.health"
        self._notify = directory / f"{number}.notify"
        self._process: asyncio.subprocess.Process | None = None
        self._ready_since_s: float | None = None
        self._alive_at_s = 0.0
        self._overdue = False

    @property
    def served_s(self) -> float:
        """Return how long the process has been ready, or was before it ended."""
        return 0.0 if self._ready_since_s is None else monotonic() - self._ready_since_s

    async def run(self) -> int:
        """Start a process, and return its exit status when it has ended."""
        self._ready_since_s = None
        for path in (self._health, self._notify):
            path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as notified:
            notified.bind(str(self._notify))
            loop = asyncio.get_running_loop()
            loop.add_reader(notified, self._hear, notified)
            try:
                # In a session of its own: a Ctrl-C is its parent's to pass on.
                self._process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-P", "-m", "service", *self._words),
                    *("--lifeline", str(self._lifeline)),
                    env=self._environment(os.environ),
                    pass_fds=(self._lifeline,),
                    start_new_session=True,
                )
                log.info("process started", extra=fields(process=self.name, pid=self._process.pid))
                return await self._process.wait()
            finally:
                self.ready.clear()
                loop.remove_reader(notified)

    def _environment(self, environment: Mapping[str, str]) -> dict[str, str]:
        return {
            **{name: text for name, text in environment.items() if name != "WATCHDOG_PID"},
            f"{PREFIX}HTTP_HOST": f"{UNIX}{self._health}",
            "NOTIFY_SOCKET": str(self._notify),
            "WATCHDOG_USEC": str(round(WATCHDOG_S * 1e6)),
        }

    def _hear(self, notified: socket.socket) -> None:
        with suppress(BlockingIOError):
            while state := notified.recv(4096):
                self._alive_at_s, self._overdue = monotonic(), False
                if state.startswith(b"READY=1"):
                    self._ready_since_s = monotonic()
                    self.ready.set()

    def watch(self) -> None:
        """Kill the process if its event loop has stood still for two looks in a row."""
        if not self.ready.is_set() or monotonic() - self._alive_at_s < WATCHDOG_S:
            return
        if self._overdue:
            log.error("process stands still and is killed", extra=fields(process=self.name))
            self.signal(signal.SIGKILL)
        self._overdue = True

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, unless the process has ended."""
        if self._process is not None and self._process.returncode is None:
            # Not by the process's own method: that asks for its end, and may take the exit status
            # away from the one who waits for it.
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, number)

    async def exposition(self) -> str | None:
        """Return the metrics that the process exposes, None without an answer."""
        text: str | None = await self._get("/metrics", aiohttp.ClientResponse.text)
        return text

    async def checks(self) -> Mapping[str, str] | None:
        """Return ``ok`` or what is wrong, by name of the check, None without an answer."""
        answer = await self._get("/readyz", aiohttp.ClientResponse.json)
        return None if answer is None else answer["checks"]

    async def _get(self, path: str, read: Any) -> Any:  # noqa: ANN401 - a method of the response
        timeout = aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_S)
        connector = aiohttp.UnixConnector(str(self._health))
        try:
            async with (
                aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
                session.get(f"http://process{path}") as response,
            ):
                return await read(response)
        except (aiohttp.ClientError, OSError, TimeoutError):
            return None

"""Runs the program's roles as child processes: started in order, stopped in reverse."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Never

import aiohttp
from msgspec import Struct

from devstack.embedded import guard
from devstack.errors import StackError
from service.runtime.settings import PREFIX

READY_TIMEOUT_S = 150.0
STOP_TIMEOUT_S = 45.0
"""Longer than a process may take to drain."""
POLL_INTERVAL_S = 0.2
LOG_TAIL_LINES = 15


class Program(Struct, frozen=True, kw_only=True):
    """What to run: ``ext-scheduler`` with ``arguments``, until ``ready_url`` answers 200.

    ``settings`` are EXT_SCHEDULER_* variables without their prefix; the caller's are not passed on.
    """

    name: str
    arguments: Sequence[str]
    settings: Mapping[str, str]
    ready_url: str


class RunningProgram(Struct, frozen=True):
    """A started program, whose output goes to ``log``."""

    program: Program
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        """Return the process id."""
        return self.process.pid


@asynccontextmanager
async def running(program: Program, directory: Path) -> AsyncIterator[RunningProgram]:
    """Run a program within the context, once it is ready; then stop it with SIGTERM.

    ``directory`` holds its log. Raises StackError when it does not become ready, or does not exit
    with status 0 when stopped.
    """
    started = _start(program, directory)
    try:
        await _until_ready(started)
        yield started
    except BaseException:
        await _stop(started)
        raise
    status = await _stop(started)
    if status != 0:
        raise StackError(_describe(started, f"exited with status {status} when stopped"))


async def watch_programs(programs: Iterable[RunningProgram]) -> Never:
    """Wait until a program ends. Raises StackError, which names it."""
    watched = list(programs)
    while True:
        for started in watched:
            if (status := started.process.poll()) is not None:
                raise StackError(_describe(started, f"exited unexpectedly with status {status}"))
        await asyncio.sleep(POLL_INTERVAL_S)


def _start(program: Program, directory: Path) -> RunningProgram:
    inherited = {name: text for name, text in os.environ.items() if not name.startswith(PREFIX)}
    settings = {f"{PREFIX}{name.upper()}": text for name, text in program.settings.items()}
    directory.mkdir(exist_ok=True)
    log = directory / "log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "service", *program.arguments],
            env=inherited | settings,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # Ctrl-C reaches the parent only, which then stops the programs in reverse order.
            start_new_session=True,
        )
    guard.record(directory, process.pid)
    return RunningProgram(program, process, log)


async def _until_ready(started: RunningProgram) -> None:
    deadline = time.monotonic() + READY_TIMEOUT_S
    last_response = "no response"
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
        while time.monotonic() < deadline:
            if (status := started.process.poll()) is not None:
                raise StackError(_describe(started, f"exited with status {status} while starting"))
            try:
                async with session.get(started.program.ready_url) as response:
                    last_response = f"{response.status} {await response.text()}"
                    if response.status == 200:
                        return
            except (aiohttp.ClientError, TimeoutError) as error:
                last_response = str(error)
            await asyncio.sleep(0.05)
    raise StackError(
        _describe(
            started, f"not ready within {READY_TIMEOUT_S:.0f} s; last response: {last_response}"
        )
    )


async def _stop(started: RunningProgram) -> int:
    """Terminate a program, kill it after a timeout, and return its exit status."""
    started.process.terminate()
    try:
        return await asyncio.to_thread(started.process.wait, STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        started.process.kill()
        return await asyncio.to_thread(started.process.wait)
    finally:
        guard.forget(started.log.parent)


def log_tail(started: RunningProgram) -> str:
    """Return the last lines of a program's log, under its name."""
    lines = started.log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
    return "\n".join([f"{started.program.name}:", *(f"    {line}" for line in lines)])


def _describe(started: RunningProgram, event: str) -> str:
    return f"{started.program.name} {event}; {log_tail(started)}"

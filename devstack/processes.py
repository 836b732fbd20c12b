"""The program's own roles as child processes: started in order, stopped in reverse."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
from msgspec import Struct

from devstack.embedded import guard
from devstack.errors import StackError
from service.runtime.settings import PREFIX

READY_SECONDS = 150.0
STOP_SECONDS = 45.0
"""Longer than a process may take to end."""
SHOWN_LOG_LINES = 15


class Program(Struct, frozen=True, kw_only=True):
    """What to run: ``ext-scheduler`` with ``arguments``, until ``ready_url`` answers 200.

    ``settings`` are EXT_SCHEDULER_* variables without their prefix; the caller's own do not count.
    """

    name: str
    arguments: Sequence[str]
    settings: Mapping[str, str]
    ready_url: str


class Running(Struct, frozen=True):
    """A program that was started; everything it prints goes to ``log``."""

    program: Program
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid


@asynccontextmanager
async def running(program: Program, directory: Path) -> AsyncIterator[Running]:
    """Run a program, ready, for the length of the block; then stop it as an operator would.

    ``directory`` gets its log. Raises StackError when it does not become ready, or does not end
    with status 0 once it is asked to.
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
        raise StackError(_account(started, f"ended with status {status} when asked to stop"))


async def first_to_end(programs: Iterable[Running]) -> None:
    """Return never, while all of them run. Raises StackError about the first that ends."""
    watched = list(programs)
    while True:
        for started in watched:
            if (status := started.process.poll()) is not None:
                raise StackError(_account(started, f"ended by itself with status {status}"))
        await asyncio.sleep(0.2)


def _start(program: Program, directory: Path) -> Running:
    inherited = {name: text for name, text in os.environ.items() if not name.startswith(PREFIX)}
    settings = {f"{PREFIX}{name.upper()}": text for name, text in program.settings.items()}
    directory.mkdir()
    log = directory / "log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "service", *program.arguments],
            env=inherited | settings,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # Ctrl-C is for us alone; we then stop them one after the other.
            start_new_session=True,
        )
    guard.record(directory, process.pid)
    return Running(program, process, log)


async def _until_ready(started: Running) -> None:
    deadline = time.monotonic() + READY_SECONDS
    answer = "nothing"
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
        while time.monotonic() < deadline:
            if (status := started.process.poll()) is not None:
                raise StackError(_account(started, f"ended with status {status} while starting"))
            try:
                async with session.get(started.program.ready_url) as response:
                    answer = f"{response.status} {await response.text()}"
                    if response.status == 200:
                        return
            except (aiohttp.ClientError, TimeoutError) as error:
                answer = str(error)
            await asyncio.sleep(0.05)
    raise StackError(
        _account(started, f"was not ready within {READY_SECONDS:.0f} s; it last said: {answer}")
    )


async def _stop(started: Running) -> int:
    """End it, by force if need be, and return its exit status."""
    started.process.terminate()
    try:
        return await asyncio.to_thread(started.process.wait, STOP_SECONDS)
    except subprocess.TimeoutExpired:
        started.process.kill()
        return await asyncio.to_thread(started.process.wait)
    finally:
        guard.forget(started.log.parent)


def last_words(started: Running) -> str:
    """The last of what a program printed, under its name."""
    lines = started.log.read_text(errors="replace").splitlines()[-SHOWN_LOG_LINES:]
    return "\n".join([f"{started.program.name}:", *(f"    {line}" for line in lines)])


def _account(started: Running, what: str) -> str:
    return f"{started.program.name} {what}; {last_words(started)}"

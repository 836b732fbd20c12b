"""``ext-scheduler dev`` as its user runs it: in one terminal, and its subcommands in another."""

import fcntl
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from devstack.places import CACHE
from tests.support.eventually import eventually

PROGRAM = (sys.executable, "-m", "service")
START_TIMEOUT_S = 300
STOP_TIMEOUT_S = 120


@contextmanager
def only_stack() -> Iterator[None]:
    """Keep others that take part from running ``dev`` in this checkout, which remembers one."""
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "dev-tests.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class Terminal:
    """A directory in which the program is run."""

    def __init__(
        self,
        directory: Path,
        program: Sequence[str | Path] = PROGRAM,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.directory = directory
        self._program = program
        self._variables = variables

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run the program to its end."""
        return subprocess.run(
            [*self._program, *arguments],
            cwd=self.directory,
            env=self._variables,
            capture_output=True,
            text=True,
            check=False,
        )

    def output_of(self, *arguments: str | Path) -> str:
        """Return what the program prints; it must succeed."""
        done = self.run(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @asynccontextmanager
    async def running(self, output: Path, *arguments: str | Path) -> AsyncIterator["Running"]:
        """Run ``dev`` within the context, once it is ready; Ctrl-C must then end it well."""
        running = Running(self._start(output, *arguments), output)
        try:
            await running.await_text("Ctrl-C stops", START_TIMEOUT_S)
            yield running
        finally:
            status = running.stop()
        assert status == 0, running.shown

    def _start(self, output: Path, *arguments: str | Path) -> subprocess.Popen[bytes]:
        with output.open("wb") as file:
            return subprocess.Popen(
                [*self._program, *arguments],
                cwd=self.directory,
                env=self._variables,
                stdout=file,
                stderr=file,
            )


class Running:
    """A ``dev`` that runs."""

    def __init__(self, process: subprocess.Popen[bytes], output: Path) -> None:
        self._process = process
        self._output = output
        self._killed = False

    @property
    def shown(self) -> str:
        """Return what it has printed so far."""
        return self._output.read_text()

    async def await_text(self, text: str, within_s: float, times: int = 1) -> None:
        """Wait until it has printed a text that many times."""

        def printed() -> bool:
            if self._process.poll() is not None:
                raise RuntimeError(self.shown)
            return self.shown.count(text) >= times

        await eventually(printed, within_s)

    def kill(self) -> None:
        """Kill it, as a crash would."""
        self._process.kill()
        self._process.wait()
        self._killed = True

    def stop(self) -> int:
        """Press Ctrl-C; return the exit status, or 0 for one that was killed."""
        if self._killed:
            return 0
        self._process.send_signal(signal.SIGINT)
        return self._process.wait(timeout=STOP_TIMEOUT_S)


@contextmanager
def own_program(command: str, directory: Path, log: Path) -> Iterator[None]:
    """Run a command line of a shell within the context, as a person would."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            ["/bin/sh", "-c", f"exec env {command}"], cwd=directory, stdout=file, stderr=file
        )
    try:
        yield
    finally:
        process.terminate()
        status = process.wait(timeout=STOP_TIMEOUT_S)
    assert status == 0, log.read_text()

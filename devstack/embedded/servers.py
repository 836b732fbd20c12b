"""Starting, awaiting, restarting and ending one server process."""

import contextlib
import itertools
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from devstack.embedded import guard

HOST = "127.0.0.1"
PORTS = range(10_000, 32_768)
"""Below the range from which outgoing connections get their ports (on Linux from 32768 on).

A client that dials a port of that range while nobody listens there may be given the very port
it dials and be connected to itself; and a server could not come back on it after a restart.
"""
_walk = itertools.count(random.SystemRandom().randrange(len(PORTS)))
"""Where the next port is looked for. Each process goes its own way from a random place: chosen anew
each time, ports of two that start servers side by side would now and then be the same."""
ATTEMPTS = 20
READY_SECONDS = 60.0
RESTART_SECONDS = 60.0


class ServerFailed(Exception):
    """An embedded server did not start; the message ends with what it logged."""


class InUse(ServerFailed):
    """Its port, or a dying predecessor's memory, is still taken: worth another attempt."""


class Account(Struct, frozen=True):
    """The operating-system user that a program runs as."""

    user: int
    group: int


class Launch(Struct, frozen=True):
    """How to start a server; ``ready(pid)`` says whether it serves yet."""

    command: Sequence[str]
    environment: Mapping[str, str]
    ready: Callable[[int], bool]
    account: Account | None = None
    farewell: signal.Signals = signal.SIGTERM
    """Asks the server to stop without waiting for its clients."""


class Server:
    """One server on a port of 127.0.0.1 that stays the same over restarts.

    Everything it prints is in ``directory / "log"``. The methods block: from a coroutine, call
    them by ``asyncio.to_thread``.
    """

    host = HOST

    def __init__(self, directory: Path, launch: Callable[[int], Launch]) -> None:
        """Start it on a free port; ``launch(port)`` says how. Raises ServerFailed."""
        self.directory = directory
        self._launch = launch
        for _ in range(ATTEMPTS):
            self.port = free_port()
            with contextlib.suppress(InUse):
                self._process = started(directory, launch(self.port))
                return
        raise ServerFailed(f"no free port after {ATTEMPTS} attempts; see {directory / 'log'}")

    @property
    def pid(self) -> int:
        """Process id since the latest start."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process.poll() is None

    def start(self) -> None:
        """Start it again on the same port and directory. Raises ServerFailed."""
        if self.running:
            raise ServerFailed(f"it runs already, as process {self.pid}")
        deadline = time.monotonic() + RESTART_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(InUse):
                self._process = started(self.directory, self._launch(self.port))
                return
            time.sleep(0.05)
        raise ServerFailed(f"port {self.port} is not to be had; see {self.directory / 'log'}")

    def stop(self) -> None:
        """End it in an orderly way, its clients' connections included."""
        farewell = self._launch(self.port).farewell
        end(self._process, self.directory, farewell, signal.SIGKILL)

    def kill(self) -> None:
        """End it as a crash would (SIGKILL)."""
        end(self._process, self.directory, signal.SIGKILL)


def free_port() -> int:
    """A TCP port on 127.0.0.1 that nobody listens on now; somebody may by the time it is used."""
    for _ in range(ATTEMPTS):
        port = PORTS[next(_walk) % len(PORTS)]
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
            return port
    raise ServerFailed(f"no free port found on {HOST}")


def started(directory: Path, launch: Launch) -> subprocess.Popen[bytes]:
    """The process, once it is ready. Raises InUse, or ServerFailed with what it logged."""
    account = launch.account
    with (directory / "log").open("ab") as log:
        logged = log.tell()
        process = subprocess.Popen(
            launch.command,
            cwd=directory,
            env=dict(launch.environment),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            user=account.user if account else None,
            group=account.group if account else None,
            extra_groups=[] if account else None,
        )
    try:
        guard.record(directory, process.pid)
        await_ready(process, launch.ready)
    except ServerFailed as failure:
        end(process, directory, signal.SIGKILL)
        said = (directory / "log").read_bytes()[logged:].decode(errors="replace")[-2000:]
        kind = InUse if "in use" in said else ServerFailed
        raise kind(f"{Path(launch.command[0]).name} {failure}:\n{said.strip()}") from None
    except BaseException:
        end(process, directory, signal.SIGKILL)
        raise
    return process


def await_ready(process: subprocess.Popen[bytes], ready: Callable[[int], bool]) -> None:
    """Wait until ``ready(pid)``. Raises ServerFailed when that takes too long or can never be."""
    deadline = time.monotonic() + READY_SECONDS
    while not ready(process.pid):
        if process.poll() is not None:
            raise ServerFailed(f"ended with status {process.returncode}")
        if time.monotonic() > deadline:
            raise ServerFailed(f"was not ready within {READY_SECONDS:.0f} s")
        time.sleep(0.005)


def end(process: subprocess.Popen[bytes], directory: Path, *signals: signal.Signals) -> None:
    """Send each signal in turn, ten seconds apart, until the process is gone."""
    for number in signals:
        process.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=10)
            break
    guard.forget(directory)

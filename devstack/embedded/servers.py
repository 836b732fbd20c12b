"""Starts, awaits, restarts and ends one server process."""

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
PORT_RANGE = range(10_000, 32_768)
"""Below the ephemeral port range (on Linux from 32768 on).

A client that connects to an unused ephemeral port may be assigned that very port and be connected
to itself; and a restarted server could find its port taken.
"""
_next_port = itertools.count(random.SystemRandom().randrange(len(PORT_RANGE)))
"""Index of the next port to try. Each process counts up from a random start: with random ports, two
processes that start servers at the same time would sometimes choose the same one."""
MAX_PORT_ATTEMPTS = 20
READY_TIMEOUT_S = 60.0
RESTART_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10
LOGGED_CHARACTERS = 2000


class ServerFailed(Exception):
    """An embedded server did not start; the message ends with what it logged."""


class AddressInUse(ServerFailed):
    """The port, or a predecessor's shared memory, is still in use; another attempt may succeed."""


class Account(Struct, frozen=True):
    """The operating-system user that a program runs as."""

    user: int
    group: int


class Launch(Struct, frozen=True):
    """How to start a server; ``ready(pid)`` returns whether it accepts connections."""

    command: Sequence[str]
    environment: Mapping[str, str]
    ready: Callable[[int], bool]
    account: Account | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    """Makes the server stop without waiting for its clients."""


class Server:
    """A server on a port of 127.0.0.1, which is kept over restarts.

    Its output is in ``directory / "log"``. The methods block: in a coroutine, call them through
    ``asyncio.to_thread``.
    """

    host = HOST

    def __init__(
        self, directory: Path, launch: Callable[[int], Launch], port: int | None = None
    ) -> None:
        """Start it as ``launch(port)`` specifies, on another free port where ``port`` is in use.

        Raises ServerFailed.
        """
        self.directory = directory
        self._launch = launch
        for attempt in range(MAX_PORT_ATTEMPTS):
            self.port = port if port is not None and attempt == 0 else free_port()
            with contextlib.suppress(AddressInUse):
                self._process = start_process(directory, launch(self.port))
                return
        raise ServerFailed(f"no free port in {MAX_PORT_ATTEMPTS} attempts; see {directory / 'log'}")

    @property
    def pid(self) -> int:
        """Return the process id since the latest start."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Return whether the process is running."""
        return self._process.poll() is None

    def start(self) -> None:
        """Restart it on the same port and directory. Raises ServerFailed."""
        if self.running:
            raise ServerFailed(f"already running, as process {self.pid}")
        deadline = time.monotonic() + RESTART_TIMEOUT_S
        while time.monotonic() < deadline:
            with contextlib.suppress(AddressInUse):
                self._process = start_process(self.directory, self._launch(self.port))
                return
            time.sleep(0.05)
        raise ServerFailed(f"port {self.port} is still in use; see {self.directory / 'log'}")

    def stop(self) -> None:
        """Stop it gracefully, and close its clients' connections."""
        stop_signal = self._launch(self.port).stop_signal
        end(self._process, self.directory, stop_signal, signal.SIGKILL)

    def kill(self) -> None:
        """Kill it (SIGKILL), as a crash would."""
        end(self._process, self.directory, signal.SIGKILL)


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that is free now; it may be taken by the time it is used."""
    for _ in range(MAX_PORT_ATTEMPTS):
        port = PORT_RANGE[next(_next_port) % len(PORT_RANGE)]
        if is_free(port):
            return port
    raise ServerFailed(f"no free port found on {HOST}")


def is_free(port: int) -> bool:
    """Return whether no program listens on a TCP port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def start_process(directory: Path, launch: Launch) -> subprocess.Popen[bytes]:
    """Return the process once it is ready. Raises AddressInUse, or ServerFailed with its log."""
    account = launch.account
    with (directory / "log").open("ab") as log:
        log_start = log.tell()
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
        logged = (directory / "log").read_bytes()[log_start:].decode(errors="replace")
        logged = logged[-LOGGED_CHARACTERS:]
        error_type = AddressInUse if "in use" in logged else ServerFailed
        raise error_type(f"{Path(launch.command[0]).name} {failure}:\n{logged.strip()}") from None
    except BaseException:
        end(process, directory, signal.SIGKILL)
        raise
    return process


def await_ready(process: subprocess.Popen[bytes], ready: Callable[[int], bool]) -> None:
    """Wait until ``ready(pid)``. Raises ServerFailed on a timeout, or when the process ends."""
    deadline = time.monotonic() + READY_TIMEOUT_S
    while not ready(process.pid):
        if process.poll() is not None:
            raise ServerFailed(f"ended with status {process.returncode}")
        if time.monotonic() > deadline:
            raise ServerFailed(f"was not ready within {READY_TIMEOUT_S:.0f} s")
        time.sleep(0.005)


def end(process: subprocess.Popen[bytes], directory: Path, *signals: signal.Signals) -> None:
    """Send each signal in turn, ``STOP_TIMEOUT_S`` apart, until the process has ended."""
    for number in signals:
        process.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=STOP_TIMEOUT_S)
            break
    guard.forget(directory)

"""Run the program ``ext-scheduler`` without loading its libraries again each time.

A server process imports the program once and forks for each run: the fork gets its own arguments,
environment, working directory and the three standard streams, and runs and ends as the program
does. Loading takes most of a second of a processor; `tests/integration/test_program.py` starts the
program itself where its start is what is tested.
"""

import atexit
import gc
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path

import msgspec
from msgspec import Struct

REQUEST_BYTES = 100_000
NUMBER_BYTES = 8
"""Size of the process id and of the exit status that come back for each run."""


class RunRequest(Struct, frozen=True):
    """What to run; its standard streams and the pipe for its exit status travel as descriptors.

    Bytes, because a command may be given what is not UTF-8.
    """

    arguments: Sequence[bytes]
    environment: Mapping[bytes, bytes]
    directory: str


def run_request(
    arguments: Sequence[str], environment: Mapping[str, str], directory: Path
) -> RunRequest:
    """Return the request to run the program with these arguments in ``directory``."""
    return RunRequest(
        [os.fsencode(argument) for argument in arguments],
        {os.fsencode(name): os.fsencode(text) for name, text in environment.items()},
        str(directory),
    )


class PreloadedProcess:
    """One run of the program, with the methods of `subprocess.Popen`."""

    def __init__(self, request: RunRequest, streams: Sequence[int]) -> None:
        """Start the run; ``streams`` are the descriptors of its input, output and errors."""
        reader, writer = os.pipe()
        self._status = os.fdopen(reader, "rb", buffering=0)
        try:
            socket.send_fds(server(), [msgspec.msgpack.encode(request)], [*streams, writer])
        finally:
            os.close(writer)
        self.pid = int.from_bytes(self._status.read(NUMBER_BYTES))
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit status, None while it runs; negative where a signal ended it."""
        return self._outcome(0)

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit status at the end. Raises TimeoutExpired."""
        status = self._outcome(timeout)
        if status is None:
            raise subprocess.TimeoutExpired("ext-scheduler", timeout or 0)
        return status

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to a process that still runs."""
        if self.poll() is None:
            with suppress(ProcessLookupError):  # it may end in between
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill the process if it still runs."""
        self.send_signal(signal.SIGKILL)

    def _outcome(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._status], [], [], timeout)[0]:
            self.returncode = int.from_bytes(self._status.read(NUMBER_BYTES), signed=True)
            self._status.close()
        return self.returncode


@cache
def server() -> socket.socket:
    """Start the server, once for this process, and return the socket that it listens on."""
    own, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with other:
        process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(other.fileno())],
            cwd=Path(__file__).parents[2],
            pass_fds=[other.fileno()],
        )

    def end() -> None:
        own.close()
        process.wait()

    atexit.register(end)
    return own


def serve(descriptor: int) -> None:
    """Fork for each request until the other side ends; return in each fork, ready to run."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(fileno=descriptor) as listener:
        while True:
            message, descriptors, _, _ = socket.recv_fds(listener, REQUEST_BYTES, 4)
            if not message:
                os._exit(0)
            if os.fork() == 0:
                break
            for each in descriptors:
                os.close(each)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    *streams, status = descriptors
    program = os.fork()
    if program == 0:
        os.close(status)
        become(msgspec.msgpack.decode(message, type=RunRequest), streams)
        return
    for stream in streams:
        os.close(stream)
    os.write(status, program.to_bytes(NUMBER_BYTES))
    _, outcome = os.waitpid(program, 0)
    os.write(status, os.waitstatus_to_exitcode(outcome).to_bytes(NUMBER_BYTES, signed=True))
    os._exit(0)


def become(request: RunRequest, streams: Sequence[int]) -> None:
    """Give this process the arguments, environment, directory and streams of a run."""
    for target, stream in enumerate(streams):
        os.dup2(stream, target)
        os.close(stream)
    os.chdir(request.directory)
    os.environ.clear()
    os.environb.update(request.environment)
    sys.argv = ["ext-scheduler", *map(os.fsdecode, request.arguments)]


if __name__ == "__main__":
    from service.__main__ import main
    from service.cli.lazy_group import COMMANDS

    for command in COMMANDS.values():
        import_module(command.target.partition(":")[0])
    for deferred in (
        "service.app",
        "service.cli.bridge_process",
        "service.cli.checks.bus",
        "service.cli.checks.database",
        "service.cli.main",
        "service.runtime.bus_settings",
    ):
        import_module(deferred)
    gc.collect()
    gc.freeze()  # what a fork does not look at it need not copy
    serve(int(sys.argv[1]))
    main()

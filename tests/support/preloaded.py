"""Run the program ``ext-scheduler`` without loading its libraries again each time.

A server process imports the program once and forks for each run: the fork gets its own arguments,
environment, working directory and the three standard streams, and runs and ends as the program
does. Loading takes most of a second of a processor; `tests/integration/test_program.py` starts the
program itself where its start is what is tested.
"""

import atexit
import gc
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path

import msgspec
from msgspec import Struct

REQUEST_BYTES = 100_000


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


def run_preloaded(request: RunRequest, streams: tuple[int, int, int]) -> int:
    """Run the program to its end on these descriptors and return its exit status.

    A run that a signal ended has a negative status, as in `subprocess`.
    """
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as status:
        try:
            socket.send_fds(server(), [msgspec.msgpack.encode(request)], [*streams, writer])
        finally:
            os.close(writer)
        return int(status.read())


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
    _, outcome = os.waitpid(program, 0)
    os.write(status, str(os.waitstatus_to_exitcode(outcome)).encode())
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

    import_module("service.cli.main")
    gc.collect()
    gc.freeze()  # what a fork does not look at it need not copy
    serve(int(sys.argv[1]))
    main()

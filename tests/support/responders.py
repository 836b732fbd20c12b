"""Responders as processes of their own, and clients that talk to them over NATS."""

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
from msgspec import Struct
from nats.aio.client import Client

from contracts.encoding import Encoding
from devstack.embedded.servers import free_port
from runner_bridge.client import InstallContext, SchedulerHost
from runner_bridge.requests import RequestSettings, SignedRequests
from service.bus.client import NatsConnection
from tests.support.eventually import eventually
from tests.support.keys import RUNNER_KEY, write_key_set
from tests.support.platform import Installed
from tests.support.preloaded import PreloadedProcess, run_request

PATIENT = dict.fromkeys(
    ("pool_acquire_timeout_ms", "lock_timeout_ms", "statement_timeout_ms"), "60000"
)
"""Settings for tests of something else than how long anything may take."""


START_WITHIN_S = 150.0
"""Starting may take two seconds of a processor that a dozen others want as well."""


class Process(Struct, frozen=True):
    """A running `ext-scheduler serve`, and where its health is."""

    popen: subprocess.Popen[bytes] | PreloadedProcess
    url: str
    log: Path

    def kill(self) -> None:
        """End it as a crash would."""
        self.popen.kill()
        self.popen.wait(60)

    async def stop(self) -> int:
        """End it as an operator would; return its exit status."""
        self.popen.send_signal(signal.SIGTERM)
        return await asyncio.to_thread(self.popen.wait, 60)


def start(
    role: str,
    directory: Path,
    settings: Mapping[str, str],
    program: Sequence[str] | None = None,
    variables: Mapping[str, str] | None = None,
    options: Sequence[str] = (),
) -> Process:
    """Start a process with these settings; it is not ready yet.

    ``program`` is the command of one that loads its libraries itself, without the arguments of
    ``serve``; ``variables`` are added to its environment, ``options`` to its
    arguments.
    """
    port = free_port()
    own = {f"EXT_SCHEDULER_{name.upper()}": text for name, text in settings.items()}
    own |= variables or {}
    environment = {**os.environ, **own, "EXT_SCHEDULER_HTTP_PORT": str(port)}
    words = ("serve", "--role", role, *options)
    log = directory / f"{role}-{port}.log"
    popen: subprocess.Popen[bytes] | PreloadedProcess
    with log.open("wb") as output, Path(os.devnull).open("rb") as nothing:
        if program is None:
            streams = (nothing.fileno(), output.fileno(), output.fileno())
            popen = PreloadedProcess(run_request(words, environment, Path.cwd()), streams)
        else:
            popen = subprocess.Popen(
                [*program, *words],
                env=environment,
                stdin=nothing,
                stdout=output,
                stderr=output,
            )
    return Process(popen, f"http://127.0.0.1:{port}", log)


async def ready(process: Process) -> None:
    """Wait until it says that it is ready."""
    async with aiohttp.ClientSession() as session:

        async def answers() -> bool:
            if process.popen.poll() is not None:
                raise RuntimeError(process.log.read_text())  # it never will be
            try:
                async with session.get(f"{process.url}/readyz") as response:
                    return response.status == 200
            except aiohttp.ClientConnectionError:
                return False

        await eventually(answers, START_WITHIN_S)


@asynccontextmanager
async def responders(
    count: int, directory: Path, database: str, nats_url: str, **settings: str
) -> AsyncIterator[list[Process]]:
    """Yield that many ready responders; those that still run are killed afterwards."""
    common = {
        "database_url": database,
        "nats_url": nats_url,
        "key_set_file": str(write_key_set(directory / "keys.json")),
        "log_level": "warning",
        **settings,
    }
    processes = [start("responder", directory, common) for _ in range(count)]
    try:
        await asyncio.gather(*map(ready, processes))
        yield processes
    finally:
        for process in processes:
            process.kill()


@asynccontextmanager
async def clients(nats_url: str, count: int = 1) -> AsyncIterator[Sequence[Client]]:
    """Yield the connections of callers."""
    async with AsyncExitStack() as stack:
        made = []
        for _ in range(count):
            client = NatsConnection()  # not the library's own: its flush is early
            await client.connect(nats_url, connect_timeout=60)
            stack.push_async_callback(client.close)
            made.append(client)
        yield made


def host(
    client: Client,
    installed: Installed,
    encoding: Encoding = Encoding.MSGPACK,
    patience: float = 60.0,
) -> SchedulerHost:
    """Return the scheduler as this install's Runner embeds it; ``patience`` in seconds."""
    settings = RequestSettings(encoding=encoding, attempt_timeout_s=3.0, total_timeout_s=patience)
    requests = SignedRequests(client, lambda: RUNNER_KEY, settings)
    return SchedulerHost(
        requests, InstallContext(install_id=installed.install_id, tenant_id=installed.tenant_id)
    )

"""The commands and settings of compose.yaml, on this machine: a cluster, every role, one answer."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import aiohttp
import asyncpg
import pytest

from contracts.context import parse_key_set, signing_key
from contracts.subjects import HOST_AUDIENCE
from devstack.embedded import Nats, embedded_nats
from devstack.embedded.servers import free_port
from runner_bridge.client import InstallContext, SchedulerHost
from runner_bridge.requests import RequestSettings, SignedRequests
from tests.support import schedule_rows
from tests.support.bus_service import a_client
from tests.support.composed import SERVICES, environment, prepare
from tests.support.database_roles import PASSWORD, as_role
from tests.support.eventually import eventually
from tests.support.platform import TICK, install
from tests.support.pools import pool_of
from tests.support.responders import START_WITHIN_S
from tests.support.sources import ROOT

RUNNER_ANSWERED = """SELECT error FROM ext_scheduler.runs
WHERE status = 'error' AND http_status IS NOT NULL"""
RUNTIME = "ext_scheduler_runtime"
NODES = ("nats-1", "nats-2", "nats-3")
LASTING = RequestSettings(total_timeout_s=60.0)


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("composed") / "secrets"
    prepare(directory)
    return directory


@pytest.fixture
def cluster(tmp_path: Path, secrets: Path) -> Iterator[dict[str, Nats]]:
    """Yield the three servers, on addresses of this host in place of their names."""
    shipped = (ROOT / "deploy" / "nats" / "cluster.conf").read_text()
    routes = {name: f"127.0.0.1:{free_port()}" for name in NODES}
    variables = variables_of_the_server(tmp_path, secrets, " ".join(routes.values()))
    with ExitStack() as stack:
        servers = {}
        for name in NODES:
            home = tmp_path / name
            home.mkdir()
            text = shipped.replace("0.0.0.0:6222", routes[name])
            (home / "cluster.conf").write_text(text)
            (home / "nats.conf").write_text((ROOT / "nats.conf").read_text())
            servers[name] = stack.enter_context(
                embedded_nats(home, config=home / "cluster.conf", environment=variables)
            )
        yield servers


def variables_of_the_server(directory: Path, secrets: Path, routes: str) -> dict[str, str]:
    """Return what the shipped script sets before it starts the server."""
    recorder = directory / "bin" / "nats-server"
    recorder.parent.mkdir()
    recorder.write_text("#!/bin/sh\nexec env\n")
    recorder.chmod(0o755)
    shown = subprocess.run(
        ["/bin/sh", ROOT / "deploy" / "nats" / "start.sh"],
        env={
            "PATH": f"{recorder.parent}{os.pathsep}{os.defpath}",
            "SECRETS_DIRECTORY": str(secrets),
            "NATS_CLUSTER": routes,
        },
        check=True,
        capture_output=True,
        text=True,
    )
    pairs = (line.partition("=") for line in shown.stdout.splitlines())
    return {name: text for name, _, text in pairs if name.startswith("EXT_SCHEDULER_NATS_")}


async def all_routed(servers: Iterable[Nats]) -> bool:
    return all([await routed(server) for server in servers])


async def routed(server: Nats) -> bool:
    """Return whether a server is connected to both others."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{server.monitoring_url}/routez") as answer,
    ):
        routes = (await answer.json())["routes"]
        return len({route["remote_id"] for route in routes}) == 2


@pytest.fixture
async def runtime_role(empty_database: str) -> AsyncIterator[None]:
    """Yield the role as the shipped script leaves it: without rights."""
    admin = await asyncpg.connect(empty_database)
    await admin.execute(f"CREATE ROLE {RUNTIME} LOGIN PASSWORD '{PASSWORD}'")
    yield
    await admin.execute(f"DROP OWNED BY {RUNTIME}")
    await admin.execute(f"DROP ROLE {RUNTIME}")
    await admin.close()


class Composed:
    """Starts services with the settings that compose.yaml gives them."""

    def __init__(
        self, secrets: Path, cluster: Mapping[str, Nats], database: str, home: Path
    ) -> None:
        self.home = home
        self.secrets = secrets
        self.runner = f"127.0.0.1:{free_port()}"
        self._places = {
            **{
                f"{name}:4222": server.url.removeprefix("nats://")
                for name, server in cluster.items()
            },
            "dev-runner:8080": self.runner,
            "0.0.0.0": "127.0.0.1",
        }
        urls = {"database_url_owner": database, "database_url": as_role(database, RUNTIME)}
        for file, url in urls.items():
            (home / file).write_text(url)

    def _here(self, text: str) -> str:
        for there, here in self._places.items():
            text = text.replace(there, here)
        return text

    def command(self, name: str) -> list[str]:
        """Return what a container would run, with its places on this host."""
        words = [self._here(str(word)) for word in SERVICES[name]["command"]]
        return [sys.executable, "-m", "service", *self._moved(words)]

    def _moved(self, words: list[str]) -> list[str]:
        places = {
            "/var/lib/components": str(self.home),
            "/var/cache/components": str(self.home),
            "/etc/ext-scheduler": str(self.secrets),
            "--port=8080": f"--port={self.runner.rpartition(':')[2]}",
        }
        for there, here in places.items():
            words = [word.replace(there, here) for word in words]
        return words

    def settings(self, name: str, port: int) -> dict[str, str]:
        """Its environment, but for ports, which containers have of their own."""
        given = {
            variable: self._here(text) for variable, text in environment(name, self.secrets).items()
        }
        if file := given.get("EXT_SCHEDULER_DATABASE_URL_FILE"):
            given["EXT_SCHEDULER_DATABASE_URL_FILE"] = str(self.home / Path(file).name)
        if name == "bridge":
            given["EXT_SCHEDULER_CALLBACK_PORT"] = str(free_port())
        return {**os.environ, **given, "EXT_SCHEDULER_HTTP_PORT": str(port)}

    def _start(self, name: str, port: int, output: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self.command(name), env=self.settings(name, port), stdout=output, stderr=output
        )

    @asynccontextmanager
    async def running(self, name: str) -> AsyncIterator[str]:
        """Run a service within the context, once it is ready; it must then end with status 0."""
        port = int(self.runner.rpartition(":")[2]) if name == "dev-runner" else free_port()
        path = "healthz" if name == "dev-runner" else "readyz"
        log = self.home / f"{name}-{port}.log"
        with log.open("wb") as output:
            process = self._start(name, port, output)

        async def ready() -> bool:
            if process.poll() is not None:
                raise RuntimeError(log.read_text())
            try:
                async with session.get(f"http://127.0.0.1:{port}/{path}") as answer:
                    return answer.status == 200
            except aiohttp.ClientConnectionError:
                return False

        try:
            async with aiohttp.ClientSession() as session:
                await eventually(ready, START_WITHIN_S)
            yield f"http://127.0.0.1:{port}"
            process.terminate()
            assert await asyncio.to_thread(process.wait, 60) == 0, log.read_text()
        finally:
            process.kill()
            process.wait()


@pytest.mark.timeout(600)
async def test_the_composed_system_answers_fires_and_survives_a_server(
    tmp_path: Path,
    secrets: Path,
    cluster: dict[str, Nats],
    empty_database: str,
    runtime_role: None,
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    composed = Composed(secrets, cluster, empty_database, home)
    await eventually(lambda: all_routed(cluster.values()))
    migrated = await asyncio.to_thread(
        subprocess.run,
        composed.command("migrate"),
        env=composed.settings("migrate", 1),
        check=False,
    )
    assert migrated.returncode == 0
    async with AsyncExitStack() as stack:
        for name in ("dev-runner", "bridge", "responder", "responder", "worker", "worker"):
            await stack.enter_async_context(composed.running(name))
        pool = await stack.enter_async_context(pool_of(empty_database, min_size=1))
        async with pool.acquire() as connection:
            installed = await install(
                connection, materialised=TICK, content_hash=f"sha256:{'0' * 64}"
            )
            minute = datetime.now(UTC).replace(second=0, microsecond=0)
            await schedule_rows.schedule(connection, installed, cron="0 0 1 1 *", due_at=minute)
        client = await stack.enter_async_context(
            a_client(
                cluster["nats-3"].url,
                user="runner",
                password=(secrets / "nats_runner_password").read_text(),
                inbox_prefix="_INBOX_runner",
            )
        )
        keys = parse_key_set((secrets / "runner" / "key.json").read_bytes())
        requests = SignedRequests(client, lambda: signing_key(keys, HOST_AUDIENCE), LASTING)
        scheduler = SchedulerHost(requests, InstallContext(install_id=installed.install_id))
        assert len((await scheduler.get_endpoints()).endpoints) > 0
        await eventually(lambda: pool.fetchval(RUNNER_ANSWERED), within=120)
        await asyncio.to_thread(cluster["nats-1"].server.kill)
        (schedule,) = (await scheduler.list()).schedules
        assert schedule.last_run_status == "error", "no such component, says the Runner"

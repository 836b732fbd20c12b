"""A process that is asked to stop ends soon and cleanly, whatever is missing, frozen or hanging."""

import asyncio
import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import aiohttp
import asyncpg
import pytest

from devstack.embedded import Nats, Postgres, embedded_postgres
from devstack.embedded.servers import free_port
from service.storage.engine.migrate import migrate
from tests.drill.environment import files
from tests.support.command_line import CommandLine, command_line, error_line
from tests.support.eventually import eventually
from tests.support.responders import START_WITHIN_S, Process, ready, start
from tests.support.trouble import SOON_S, frozen, frozen_server


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    """Yield a PostgreSQL server of the test's own."""
    with embedded_postgres(durable=True) as server:
        yield server


@pytest.fixture
async def settings(tmp_path: Path, own_postgres: Postgres, nats_server: Nats) -> Mapping[str, str]:
    connection = await asyncpg.connect(own_postgres.dsn)
    try:
        await migrate(connection)
    finally:
        await connection.close()
    return {
        "database_url": own_postgres.dsn,
        "nats_url": nats_server.url,
        "log_level": "info",
        "log_format": "text",
        "drain_timeout_s": "300",  # there is nothing in hand to wait for
        **files(tmp_path),
    }


async def alive(url: str) -> None:
    """Wait until it answers for its health, ready or not: it hears signals then."""
    async with aiohttp.ClientSession() as session:

        async def answers() -> bool:
            try:
                async with session.get(f"{url}/healthz") as response:
                    return response.status == 200
            except aiohttp.ClientConnectionError:
                return False

        await eventually(answers, START_WITHIN_S)


async def stopped(process: Process) -> str:
    """Stop it; it ends well, and long before it would give up. Return what it logged."""
    process.popen.send_signal(signal.SIGTERM)
    try:
        status = await asyncio.to_thread(process.popen.wait, SOON_S)
        said = process.log.read_text()
        assert status == 0, said
        assert "Traceback" not in said
        return said
    finally:
        process.kill()


@pytest.mark.parametrize("role", ["responder", "worker"])
async def test_a_stop_ends_a_start_that_waits_for_nats(
    tmp_path: Path, settings: Mapping[str, str], nats_server: Nats, role: str
) -> None:
    nats_server.server.kill()
    process = start(role, tmp_path, settings)
    await alive(process.url)
    assert "serving" not in await stopped(process)


async def test_a_stop_ends_a_start_that_waits_for_postgres(
    tmp_path: Path, settings: Mapping[str, str], own_postgres: Postgres
) -> None:
    with frozen_server(own_postgres):
        process = start("all", tmp_path, settings)
        await alive(process.url)
        await eventually(lambda: "connected to NATS" in process.log.read_text())
        assert "serving" not in await stopped(process)


@pytest.mark.parametrize("role", ["responder", "worker", "all"])
async def test_a_stop_succeeds_just_after_nats_disappeared(
    tmp_path: Path, settings: Mapping[str, str], nats_server: Nats, role: str
) -> None:
    process = start(role, tmp_path, settings)
    await ready(process)
    nats_server.server.kill()
    await stopped(process)


async def test_a_stop_succeeds_while_nats_hangs(
    tmp_path: Path, settings: Mapping[str, str], nats_server: Nats
) -> None:
    process = start("all", tmp_path, settings)
    await ready(process)
    with frozen([nats_server.server.pid]):
        await stopped(process)


async def test_a_stop_succeeds_while_postgres_hangs(
    tmp_path: Path, settings: Mapping[str, str], own_postgres: Postgres
) -> None:
    process = start("all", tmp_path, {**settings, "statement_timeout_ms": "1000"})
    await ready(process)
    with frozen_server(own_postgres):
        await stopped(process)


HANGING = """
import asyncio, time
from service.runtime.shutdown import stop_signal

async def main():
    stopping = stop_signal(2.0)
    print("ready", flush=True)
    {hang}
    await stopping.wait()

async def cannot_be_ended():
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            continue

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("hang", "remaining"),
    [
        ("await cannot_be_ended()", "main"),
        (
            "asyncio.get_running_loop().run_in_executor(None, time.sleep, 3600)",
            "BaseEventLoop.shutdown_default_executor",
        ),
    ],
    ids=["a task that will not be cancelled", "a thread, when all tasks have ended"],
)
async def test_a_component_that_hangs_at_the_stop_is_abandoned_and_named(
    hang: str, remaining: str
) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        HANGING.format(hang=hang),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    await process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(60):
        _, said = await process.communicate()
    assert process.returncode == 1
    assert said.decode() == (f"ext-scheduler: did not end within 2 s; still running: {remaining}\n")


@pytest.fixture
def line(tmp_path: Path, nats_url: str) -> CommandLine:
    return command_line(tmp_path, nats_url)


async def test_a_missing_database_ends_the_start_with_its_own_status(
    line: CommandLine,
) -> None:
    said = await line(
        "serve", http_port="0", log_level="error", database_url="postgresql://127.0.0.1:9/x"
    )
    assert error_line(said, 8).startswith("database not usable: ")


async def test_a_missing_bus_ends_the_start_with_its_own_status(line: CommandLine) -> None:
    to_nowhere = {"nats_url": "nats://127.0.0.1:9", "log_level": "error", "http_port": "0"}
    said = await line("bridge", "--runner", "http://127.0.0.1:9", **to_nowhere)
    assert error_line(said, 8).startswith("no NATS server at nats://127.0.0.1:9")


async def test_a_bridge_that_waits_for_the_bus_stops_on_a_signal(line: CommandLine) -> None:
    port = free_port()
    to_nowhere = {"nats_url": "nats://127.0.0.1:9", "log_level": "error", "http_port": str(port)}
    process = await line.start("bridge", "--runner", "http://127.0.0.1:9", **to_nowhere)
    await alive(f"http://127.0.0.1:{port}")
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(60):
        _, said = await process.communicate()
    assert (process.returncode, said) == (0, b"")

"""The embedded servers start, crash and restart on demand, and never outlive their owner."""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import nats
import psutil
import pytest

from devstack.embedded import (
    Nats,
    Postgres,
    ServerFailed,
    embedded_nats,
    embedded_postgres,
    private_directory,
)
from devstack.embedded.directories import PREFIX, UNLOCKED_DIRECTORY_MAX_AGE_S, sweep
from tests.support.eventually import eventually

OWNER = """
from devstack.embedded import embedded_nats, embedded_postgres, private_directory
with private_directory() as home:
    with embedded_postgres(home / "postgres") as postgres, embedded_nats(home / "nats") as bus:
        print(home, postgres.server.pid, bus.server.pid, flush=True)
        input()
"""


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    """Yield a server that the test may kill and restart."""
    with embedded_postgres() as server:
        yield server


async def value(server: Postgres, query: str) -> object:
    connection = await asyncpg.connect(server.dsn)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def test_committed_rows_survive_a_killed_postgres(own_postgres: Postgres) -> None:
    await value(own_postgres, "CREATE TABLE kept AS SELECT 42 AS answer")
    port = own_postgres.server.port
    await asyncio.to_thread(own_postgres.server.kill)
    assert not own_postgres.server.running
    await asyncio.to_thread(own_postgres.server.start)
    assert own_postgres.server.port == port
    assert await value(own_postgres, "SELECT answer FROM kept") == 42


async def test_a_killed_postgres_restarts_while_its_old_backends_still_run(
    own_postgres: Postgres,
) -> None:
    busy = await asyncpg.connect(own_postgres.dsn)
    counting = asyncio.create_task(
        busy.fetchval("SELECT count(*) FROM generate_series(1, 3000000)")
    )
    await eventually(
        lambda: value(
            own_postgres, "SELECT count(*) = 1 FROM pg_stat_activity WHERE query ~ '3{1}0'"
        )
    )
    await asyncio.to_thread(own_postgres.server.kill)
    await asyncio.to_thread(own_postgres.server.start)
    assert await value(own_postgres, "SELECT 1") == 1
    await asyncio.gather(counting, return_exceptions=True)
    busy.terminate()


async def test_a_stopped_postgres_restarts_at_the_same_address(own_postgres: Postgres) -> None:
    await asyncio.to_thread(own_postgres.server.stop)
    with pytest.raises(OSError, match="Connect call failed"):
        await value(own_postgres, "SELECT 1")
    await asyncio.to_thread(own_postgres.server.start)
    assert await value(own_postgres, "SELECT 1") == 1


async def test_a_running_postgres_refuses_a_second_start(own_postgres: Postgres) -> None:
    with pytest.raises(ServerFailed, match="already running"):
        own_postgres.server.start()


async def test_fsync_is_off_unless_durable(own_postgres: Postgres) -> None:
    assert await value(own_postgres, "SHOW fsync") == "off"
    with embedded_postgres(durable=True, settings={"max_connections": "7"}) as durable:
        assert await value(durable, "SHOW fsync") == "on"
        assert await value(durable, "SHOW max_connections") == "7"


async def test_postgres_refuses_a_wrong_password(own_postgres: Postgres) -> None:
    dsn = own_postgres.dsn.replace(own_postgres.password, "guess")
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(dsn)


def test_a_setting_that_postgres_refuses_is_named_in_the_failure() -> None:
    with (
        pytest.raises(ServerFailed, match="no_such_setting"),
        embedded_postgres(settings={"no_such_setting": "1"}),
    ):
        pass


def test_data_survive_in_a_given_directory() -> None:
    with private_directory() as home:
        with embedded_postgres(home / "postgres") as first:
            asyncio.run(value(first, "CREATE TABLE kept AS SELECT 1 AS one"))
        with embedded_postgres(home / "postgres") as second:
            assert asyncio.run(value(second, "SELECT one FROM kept")) == 1


async def test_clients_reconnect_to_a_restarted_nats(nats_server: Nats) -> None:
    client = await nats.connect(
        nats_server.url, max_reconnect_attempts=-1, reconnect_time_wait=0.02
    )
    await asyncio.to_thread(nats_server.server.kill)
    await asyncio.to_thread(nats_server.server.start)
    await eventually(lambda: client.is_connected)
    await client.flush()
    await client.close()


async def test_nats_uses_a_configuration_file_but_its_own_address(tmp_path: Path) -> None:
    config = tmp_path / "nats.conf"
    config.write_text(
        'listen: "0.0.0.0:4222"\nhttp: "127.0.0.1:8222"\nmax_payload: 2MB\n'
        "authorization { user: someone, password: $SECRET_WORD }\n"
    )
    with embedded_nats(config=config, environment={"SECRET_WORD": "open-sesame"}) as server:
        assert server.server.port != 4222
        address = server.url.replace("//", "//someone:open-sesame@")
        client = await nats.connect(address)
        assert client.max_payload == 2 * 1024 * 1024
        reader, writer = await asyncio.open_connection("127.0.0.1", server.monitoring_port)
        writer.write(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert b'"status":"ok"' in await reader.read()
        writer.close()
        await writer.wait_closed()
        await client.close()


def test_several_owners_start_servers_concurrently() -> None:
    owners = [start_owner() for _ in range(3)]
    owned = [read_started(owner) for owner in owners]
    assert len({directory for directory, *_ in owned}) == 3
    for owner in owners:
        owner.communicate("\n", timeout=120)
        assert owner.returncode == 0
    for directory, *pids in owned:
        assert not directory.exists()
        assert not any(psutil.pid_exists(pid) for pid in pids)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
async def test_servers_end_with_an_owner_that_a_signal_ends(number: signal.Signals) -> None:
    owner = start_owner()
    directory, *pids = read_started(owner)
    owner.send_signal(number)
    owner.communicate(timeout=120)
    await eventually(lambda: not any(psutil.pid_exists(pid) for pid in pids))
    await eventually(lambda: not directory.exists())


async def test_a_sweep_clears_what_a_killed_owner_and_guard_left(own_tmp: Path) -> None:
    owner = start_owner(own_tmp)
    directory, *pids = read_started(owner)
    guards = [
        child
        for child in psutil.Process(owner.pid).children()
        if "guard.py" in " ".join(child.cmdline())
    ]
    for each in guards:
        each.kill()
    owner.kill()
    owner.communicate(timeout=120)
    await eventually(lambda: not any(map(runs, guards)))  # it holds the lock of the directory
    assert directory.parent == own_tmp
    assert all(psutil.pid_exists(pid) for pid in pids)
    (directory / "just-written").touch()
    sweep()
    assert not directory.exists()
    await eventually(lambda: not any(psutil.pid_exists(pid) for pid in pids))


def runs(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_sweep_keeps_a_directory_in_use(own_tmp: Path) -> None:
    with private_directory() as home:
        age(home)
        sweep()
        assert home.exists()
    assert not home.exists()


def test_a_sweep_clears_a_directory_that_was_never_locked_once_it_is_old(own_tmp: Path) -> None:
    unlocked = own_tmp / f"{PREFIX}unlocked"
    unlocked.mkdir()
    sweep()
    assert unlocked.exists()
    age(unlocked)
    sweep()
    assert not unlocked.exists()


def age(directory: Path) -> None:
    """Make a directory look older than an owner needs to lock it."""
    modified = time.time() - 2 * UNLOCKED_DIRECTORY_MAX_AGE_S
    os.utime(directory, (modified, modified))


@pytest.fixture
def own_tmp(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Yield a temporary directory that no other test sweeps, open to the servers' user."""
    with tempfile.TemporaryDirectory(prefix="sweep-") as name:
        directory = Path(name)
        directory.chmod(0o711)
        monkeypatch.setattr(tempfile, "tempdir", name)
        yield directory


def start_owner(tmp: Path | None = None) -> subprocess.Popen[str]:
    """Start a process that owns a private directory with two servers, below ``tmp`` if given."""
    return subprocess.Popen(
        [sys.executable, "-c", OWNER],
        env={**os.environ, **({"TMPDIR": str(tmp)} if tmp else {})},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def read_started(owner: subprocess.Popen[str]) -> tuple[Path, int, int]:
    """Return an owner's directory and the process ids of its servers, once they run."""
    assert owner.stdout is not None
    directory, postgres, bus = owner.stdout.readline().split()
    return Path(directory), int(postgres), int(bus)

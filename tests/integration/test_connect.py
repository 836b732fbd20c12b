"""Several hosts in a URL: each has its own few seconds, and the last good one comes first."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from devstack.embedded import Postgres
from service.storage.engine.connect import NoServerError, Servers, SessionSettings
from service.storage.engine.pool import PoolSettings, open_pool
from tests.support.command_line import command_line, error_line

SESSION = SessionSettings("test")


@asynccontextmanager
async def silent_host() -> AsyncIterator[tuple[str, int]]:
    """Yield a host that accepts and never answers."""
    ended = asyncio.Event()

    async def ignore(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await ended.wait()
        writer.close()

    server = await asyncio.start_server(ignore, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[:2]
    finally:
        ended.set()
        server.close()


def with_hosts(url: str, *hosts: tuple[str, int], parameters: str = "") -> str:
    """Return the same database on several hosts."""
    parts = urlsplit(url)
    account = parts.netloc.rpartition("@")[0]
    names = ",".join(f"{host}:{port}" for host, port in hosts)
    return f"postgresql://{account}@{names}{parts.path}{parameters}"


def host_of(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port


async def test_a_silent_host_is_passed_over_and_tried_last_from_then_on(database: str) -> None:
    good = host_of(database)
    async with silent_host() as silent:
        servers = Servers(with_hosts(database, silent, good))
        assert servers.order == [silent, good]
        first = await servers.connect(SESSION)
        assert servers.order == [good, silent]
        second = await servers.connect(SESSION)
        await asyncio.gather(first.close(), second.close())


async def test_a_host_that_a_caller_gave_up_on_is_tried_last(database: str) -> None:
    # A request waits for less than a host may take: without this it would never get beyond it.
    good = host_of(database)
    async with silent_host() as silent:
        servers = Servers(with_hosts(database, silent, good))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(servers.connect(SESSION), 0.1)
        assert servers.order == [good, silent]


async def test_a_pool_gets_beyond_a_silent_host(database: str) -> None:
    async with silent_host() as silent:
        url = with_hosts(database, silent, host_of(database))
        servers = Servers(url)
        settings = PoolSettings(url, 4, "test", 5_000, 15_000, 256)
        async with await open_pool(settings, servers) as pool:
            assert servers.order[-1] == silent, "no connection waits for it any more"
            taken = await asyncio.gather(*(pool.acquire(timeout=60.0) for _ in range(4)))
            assert await taken[0].fetchval("SELECT 1") == 1
            for connection in taken:
                await pool.release(connection)


@pytest.fixture
async def standby(postgres: Postgres) -> AsyncIterator[tuple[str, int]]:
    """Yield a relay to the server that says of it, as a standby does, that it is one."""

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection(*host_of(postgres.dsn))

        async def up() -> None:
            while data := await reader.read(65_536):
                up_writer.write(data)
            up_writer.close()

        async def down() -> None:
            while data := await up_reader.read(65_536):
                writer.write(data.replace(*STANDBY))
            writer.close()

        await asyncio.gather(up(), down(), return_exceptions=True)

    server = await asyncio.start_server(relay, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[:2]
    server.close()


STANDBY = (
    b"\x00\x00\x00\x17in_hot_standby\x00off\x00",
    b"\x00\x00\x00\x16in_hot_standby\x00on\x00",
)


async def test_a_standby_is_passed_over(database: str, standby: tuple[str, int]) -> None:
    good = host_of(database)
    for parameters in ("", "?target_session_attrs=any"):
        servers = Servers(with_hosts(database, standby, good, parameters=parameters))
        connection = await servers.connect(SESSION)
        assert servers.order == [good, standby]
        await connection.close()


async def test_where_no_host_will_do_each_says_why(database: str, standby: tuple[str, int]) -> None:
    async with silent_host() as silent:
        with pytest.raises(NoServerError) as caught:
            await Servers(with_hosts(database, silent, standby)).connect(SESSION)
    text = str(caught.value)
    assert f"127.0.0.1:{silent[1]}: no answer within 2.5 s" in text
    assert f"127.0.0.1:{standby[1]}: a standby, which takes no writes" in text


async def test_a_wrong_password_is_told_at_once(database: str) -> None:
    host, port = host_of(database)
    url = f"postgresql://postgres:wrong@{host}:{port},{host}:{port}/postgres"
    with pytest.raises(asyncpg.InvalidPasswordError):
        await Servers(url).connect(SESSION)


@pytest.mark.parametrize("command", ["migrate", "check"])
async def test_commands_pass_a_standby_and_a_silent_host_over(
    command: str,
    tmp_path: Path,
    nats_url: str,
    database: str,
    standby: tuple[str, int],
) -> None:
    async with silent_host() as silent:
        url = with_hosts(database, standby, silent, host_of(database))
        line = command_line(tmp_path, nats_url, database_url=url)
        result = await line(command)
        assert ("up to date" in result.out) or ("ok       database" in result.out)
        refused = await line("migrate", database_url=with_hosts(database, standby))
        assert "a standby, which takes no writes" in error_line(refused, 8)


def test_a_url_without_a_user_needs_a_login_name(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME", "PGUSER"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 1_234_567_890)
    with pytest.raises(asyncpg.ClientConfigurationError, match="uid 1234567890 has no login name"):
        Servers("postgresql://127.0.0.1/x")
    assert Servers("postgresql://me@127.0.0.1:5432/x").order == [("127.0.0.1", 5432)]

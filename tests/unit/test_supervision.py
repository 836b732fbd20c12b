"""What systemd hears of a process, on a real datagram socket."""

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.runtime.supervision import supervised


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(address)
        listening.setblocking(False)
        yield listening, address


async def received(listening: socket.socket) -> str:
    return (await asyncio.get_running_loop().sock_recv(listening, 100)).decode()


async def test_a_process_reports_ready_alive_and_stopping(
    supervisor: tuple[socket.socket, str],
) -> None:
    listening, address = supervisor
    async with supervised({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "20000"}):
        assert [await received(listening) for _ in range(3)] == ["READY=1", *["WATCHDOG=1"] * 2]
    heard = [await received(listening)]
    while heard[-1] == "WATCHDOG=1":
        heard.append(await received(listening))
    assert heard[-1] == "STOPPING=1"


@pytest.mark.parametrize(
    "watchdog",
    [{}, {"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": "1000", "WATCHDOG_PID": str(os.getppid())}],
)
async def test_no_sign_of_life_is_sent_where_none_is_asked_for(
    supervisor: tuple[socket.socket, str], watchdog: dict[str, str]
) -> None:
    listening, address = supervisor
    async with supervised({"NOTIFY_SOCKET": address, **watchdog}):
        await asyncio.sleep(0)
    assert [await received(listening) for _ in range(2)] == ["READY=1", "STOPPING=1"]


async def test_a_process_of_its_own_reports_to_nobody() -> None:
    async with supervised({}):
        await asyncio.sleep(0)


async def test_an_absent_supervisor_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with supervised({"NOTIFY_SOCKET": "/nonexistent/notify"}):
        await asyncio.sleep(0)
    assert "supervisor not notified (READY=1)" in caplog.text


async def test_a_name_in_the_abstract_namespace_is_understood() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        name = f"ext-scheduler-test-{os.getpid()}"
        listening.bind(f"\0{name}")
        listening.setblocking(False)
        async with supervised({"NOTIFY_SOCKET": f"@{name}"}):
            assert await received(listening) == "READY=1"

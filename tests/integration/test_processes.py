"""Child processes are awaited and watched, and their failures reported with the log."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
import pytest

from devstack.embedded import Nats, private_directory
from devstack.embedded.servers import free_port
from devstack.errors import StackError
from devstack.home import write_keys
from devstack.processes import Program, RunningProgram, running, watch_programs


@pytest.fixture
def home() -> Iterator[Path]:
    with private_directory() as directory:
        write_keys(directory)
        yield directory


def bridge(home: Path, nats_url: str, **settings: str) -> Program:
    """Return the smallest program: it needs only a bus, and no Runner before the first request."""
    port = free_port()
    return Program(
        name="bridge",
        arguments=["bridge", "--runner", "http://127.0.0.1:9"],
        settings={
            "nats_url": nats_url,
            "http_port": str(port),
            "key_set_file": str(home / "keys.json"),
            **settings,
        },
        ready_url=f"http://127.0.0.1:{port}/readyz",
    )


@pytest.fixture
async def started(home: Path, nats_server: Nats) -> AsyncIterator[RunningProgram]:
    async with running(bridge(home, nats_server.url), home / "bridge") as program:
        yield program


async def test_a_program_is_ready_within_the_context(home: Path, nats_server: Nats) -> None:
    async with running(bridge(home, nats_server.url), home / "bridge") as program:
        assert psutil.pid_exists(program.pid)
    assert program.process.returncode == 0


async def test_an_error_quotes_the_log_of_a_program_that_cannot_start(home: Path) -> None:
    refused = bridge(home, "nats://127.0.0.1:9", log_level="no-such-level")
    with pytest.raises(StackError, match=r"bridge exited with status 2 while starting") as failure:
        async with running(refused, home / "bridge"):
            pass
    assert "no-such-level".upper() in str(failure.value).upper()


async def test_an_unexpected_exit_of_a_program_is_an_error(started: RunningProgram) -> None:
    watching = asyncio.create_task(watch_programs([started]))
    os.kill(started.pid, signal.SIGTERM)
    with pytest.raises(StackError, match="bridge exited unexpectedly with status 0"):
        await asyncio.wait_for(watching, timeout=60)


async def test_stopping_a_killed_program_is_an_error(home: Path, nats_server: Nats) -> None:
    block = running(bridge(home, nats_server.url), home / "bridge")
    program = await block.__aenter__()
    program.process.kill()
    with pytest.raises(StackError, match="exited with status -9 when stopped"):
        await block.__aexit__(None, None, None)


async def test_the_callers_settings_are_not_passed_to_a_program(
    home: Path, nats_server: Nats, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EXT_SCHEDULER_LOG_FORMAT", "nonsense")
    async with running(bridge(home, nats_server.url), home / "bridge") as program:
        assert program.process.poll() is None

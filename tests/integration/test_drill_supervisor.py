"""The drill's supervisor ends processes whatever they are at, and tells who does not end."""

import asyncio
import os
import random
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from devstack.embedded.servers import free_port
from service.runtime.errors import CannotServeError
from service.runtime.resources import health
from service.runtime.settings import Settings
from tests.drill import environment
from tests.drill.supervisor import PORT_TAKEN, SupervisedProcess
from tests.support import responders
from tests.support.eventually import eventually

SMALL = (sys.executable, "-m", "tests.support.small_process")


@pytest_asyncio.fixture
async def kept(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[SupervisedProcess]:
    """Yield one that is supervised, ready or not; its settings are the test's parameters."""
    process = SupervisedProcess("worker 1", SMALL, getattr(request, "param", {}))
    async with environment.supervising([process], tmp_path):
        yield process


def ends(process: SupervisedProcess) -> list[tuple[str, int]]:
    return [(each.cause, each.status) for each in process.exits]


async def end_itself(process: SupervisedProcess) -> None:
    assert process._process is not None
    async with aiohttp.ClientSession() as session, asyncio.timeout(60):
        try:
            await session.get(f"{process._process.url}/end")
        except aiohttp.ClientError:
            pid = process._process.popen.pid
            with suppress(ChildProcessError):  # it was awaited already
                await asyncio.to_thread(os.waitid, os.P_PID, pid, os.WEXITED | os.WNOWAIT)


async def test_a_ready_process_is_stopped_with_its_own_status(kept: SupervisedProcess) -> None:
    await kept.ready.wait()
    await environment.stop([kept])
    assert ends(kept) == [("stopped", 0)]
    assert not kept.ready.is_set()
    assert len(kept.spans) == 1


async def test_a_starting_process_is_stopped_once_it_can_be(kept: SupervisedProcess) -> None:
    await eventually(lambda: kept._process)
    await environment.stop([kept])
    assert ends(kept) == [("stopped", 0)]


async def test_a_process_that_has_just_ended_is_not_awaited(kept: SupervisedProcess) -> None:
    await kept.ready.wait()
    await end_itself(kept)
    await eventually(lambda: kept.exits)  # it will be started again in a moment
    await environment.stop([kept], within=60)
    assert ends(kept) == [("itself", 3)]


async def test_a_process_that_ended_unnoticed_does_not_count_as_stopped(
    kept: SupervisedProcess,
) -> None:
    await kept.ready.wait()
    await end_itself(kept)
    await environment.stop([kept], within=60)  # before anybody has looked
    assert ends(kept) == [("itself", 3)]


async def test_a_process_that_has_just_been_killed_is_not_awaited(kept: SupervisedProcess) -> None:
    await kept.ready.wait()
    kept.kill()
    await environment.stop([kept], within=60)
    assert ends(kept) == [("killed", -signal.SIGKILL)]


async def test_a_kill_after_the_end_is_not_the_cause_of_the_end(kept: SupervisedProcess) -> None:
    await kept.ready.wait()
    await end_itself(kept)
    kept.kill()
    await eventually(lambda: kept.exits)
    assert ends(kept) == [("itself", 3)]


async def test_a_process_that_is_down_is_stopped_without_a_start(kept: SupervisedProcess) -> None:
    await kept.ready.wait()
    kept.away()
    await eventually(lambda: kept.exits)
    await environment.stop([kept], within=60)
    assert ends(kept) == [("killed", -signal.SIGKILL)]


async def test_a_frozen_process_is_stopped_when_it_resumes(kept: SupervisedProcess) -> None:
    await kept.ready.wait()
    kept.freeze()
    stopping = asyncio.create_task(environment.stop([kept]))
    kept.thaw()
    await stopping
    assert ends(kept) == [("stopped", 0)]


@pytest.mark.parametrize("kept", [{"life": "0.2"}], indirect=True)
async def test_the_end_of_a_start_is_told_from_that_of_a_ready_process(
    kept: SupervisedProcess,
) -> None:
    await kept.ready.wait()
    await eventually(lambda: kept.exits)
    assert kept.exits[0].was_ready


async def test_a_process_whose_port_was_taken_meanwhile_is_started_on_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = SupervisedProcess("worker 1", SMALL, {})
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports = iter([taken.getsockname()[1], free_port()])
        monkeypatch.setattr(responders, "free_port", ports.__next__)
        async with environment.supervising([process], tmp_path):
            await process.ready.wait()
    assert process.exits == []


async def test_the_service_says_that_its_port_is_taken_as_the_supervisor_expects() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = Settings(http_host="127.0.0.1", http_port=taken.getsockname()[1])
        with pytest.raises(CannotServeError, match=PORT_TAKEN):
            async with health(settings, no_metrics, {}):
                pass


async def no_metrics() -> bytes:
    return b""


@pytest.mark.parametrize("kept", [{"life": "0.05"}], indirect=True)
@pytest.mark.parametrize("seed", range(6))
async def test_a_process_in_a_crash_loop_is_stopped_at_any_moment(
    kept: SupervisedProcess, seed: int
) -> None:
    await kept.ready.wait()
    await asyncio.sleep(random.Random(seed).uniform(0.0, 0.6))
    await environment.stop([kept], within=60)
    assert kept.exits
    # The last: told to stop between its last word and its end.
    assert set(ends(kept)) <= {("itself", 3), ("stopped", 0), ("stopped", 3)}


@pytest.mark.parametrize("kept", [{"deaf": "1"}], indirect=True)
async def test_a_process_that_does_not_stop_is_named_with_its_log(kept: SupervisedProcess) -> None:
    await kept.ready.wait()
    with pytest.raises(AssertionError, match=r"worker 1 runs, .*I do not hear"):
        await environment.stop([kept], within=5)

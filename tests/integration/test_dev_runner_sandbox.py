"""Guests that misbehave: each ends in a reusable error, and the next one is served."""

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from contracts.execution import ExecuteResponse
from runner_bridge.dev_runner.sandbox import start
from tests.support.eventually import eventually
from tests.support.running_extensions import (
    BARE,
    Runner,
    development_runner,
    guest_processes,
    installed,
    json_of,
)
from tests.support.tiny_components import (
    LOOP,
    RECURSE,
    component,
    install_bytes,
    response_of,
)

# Whoever is first waits until a component of 18 MB is compiled, on however busy a machine.
pytestmark = pytest.mark.timeout(300)

MIB = 1024 * 1024


@pytest.fixture
async def runner(tmp_path: Path) -> AsyncIterator[Runner]:
    async with development_runner(tmp_path, concurrency=2) as runner:
        yield runner


async def outcome(runner: Runner, content: bytes, timeout_ms: int = 90_000) -> ExecuteResponse:
    """Run a component, then a well-behaved one: whatever the first did does not affect it."""
    name = install_bytes(content, runner.components)
    response = await runner.execute(name, timeout_ms=timeout_ms)
    well = install_bytes(component(), runner.components)
    assert await runner.execute(well) == ExecuteResponse(status=204)
    return response


@pytest.mark.parametrize("content", [component(LOOP), component(start=LOOP)], ids=["call", "start"])
async def test_a_guest_that_loops_ends_at_its_time_limit(runner: Runner, content: bytes) -> None:
    response = await outcome(runner, content, timeout_ms=300)
    assert response.status == 504
    assert response.error is not None
    assert response.error.startswith("guest_timeout: ")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (component("(unreachable)"), "unreachable"),
        (component("(i32.div_s (i32.const 1) (i32.const 0))"), "divide by zero"),
        (component("(i32.load (i32.const 99999999))"), "out of bounds"),
        (component(RECURSE), "call stack exhausted"),
        (component("(i32.const 99999996)"), "out of bounds"),
        (component(response_of(MIB)), "out of bounds"),
        (component(response_of(150 * MIB), pages=3_000), "too much data"),
    ],
    ids=["unreachable", "division", "load", "recursion", "result", "list", "150 MiB"],
)
async def test_a_guest_that_traps_ends_with_the_reason(
    runner: Runner, content: bytes, reason: str
) -> None:
    response = await outcome(runner, content)
    assert response.status == 500
    assert response.error is not None
    assert response.error.startswith("guest_trap: ")
    assert reason in response.error


async def test_a_guest_with_4_gib_of_initial_memory_is_not_started(runner: Runner) -> None:
    response = await outcome(runner, component(pages=65_536))
    assert response.status == 500
    assert "exceeds memory limits" in (response.error or "")


async def test_growing_a_guest_to_4_gib_fails_in_the_guest(runner: Runner) -> None:
    grows = "(if (i32.eq (memory.grow (i32.const 65000)) (i32.const -1)) (then (unreachable)))"
    response = await outcome(runner, component(f"{grows} (i32.const 0)"))
    assert response.status == 500
    assert "unreachable" in (response.error or "")


async def test_the_memory_limit_itself_can_be_used_up(runner: Runner) -> None:
    grows = "(drop (memory.grow (i32.const 4000))) (i32.store8 (i32.const 262000000) (i32.const 1))"
    response = await outcome(runner, component(f"{grows} {response_of(0, 200)}"))
    assert response == ExecuteResponse(status=200, body_b64="")


@pytest.mark.parametrize("size", [262_145, MIB], ids=["a byte more", "far more"])
async def test_an_oversize_response_is_refused(runner: Runner, size: int) -> None:
    response = await outcome(runner, component(response_of(size), pages=600))
    assert response.status == 502
    assert (response.error or "").startswith("guest_response: ")


async def test_a_response_that_only_fits_before_it_is_encoded_is_refused(runner: Runner) -> None:
    response = await outcome(runner, component(response_of(200_000), pages=4))
    assert response.status == 502
    assert "encoded" in (response.error or "")


async def test_a_guest_process_that_dies_ends_only_its_call(runner: Runner) -> None:
    looping = install_bytes(component(LOOP), runner.components)
    well = install_bytes(component(), runner.components)
    await runner.execute(well)
    [warm] = guest_processes()
    call = asyncio.create_task(runner.execute(looping))
    await loops(warm)
    warm.kill()
    response = await call
    assert response.status == 502
    assert (response.error or "").startswith("guest_crashed: ")
    assert (await runner.execute(well)).status == 204


async def loops(process: psutil.Process) -> None:
    """Wait until it has been at work for longer than anything takes that ends."""
    before = process.cpu_times().user
    await eventually(lambda: process.cpu_times().user > before + 0.3)


async def test_a_guest_process_ends_with_its_runner() -> None:
    sandbox = await start(256 * MIB)
    sandbox._writer.close()
    assert await asyncio.wait_for(sandbox._process.wait(), 60) == 0
    await sandbox.close()


@pytest.mark.parametrize("status", [0, 42, 600, 65_535])
async def test_a_status_that_http_does_not_have_is_refused(runner: Runner, status: int) -> None:
    response = await outcome(runner, component(response_of(0, status)))
    assert response == ExecuteResponse(status=502, error=f"guest_response: status {status}")


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"\0asm\1\0\0\0", "component"), (b"not wasm at all", ""), (b"", "")],
    ids=["a core module", "text", "nothing"],
)
async def test_a_file_that_is_no_component_is_unusable(
    runner: Runner, content: bytes, reason: str
) -> None:
    name = install_bytes(content, runner.components)
    status, answer = await runner.post(
        {
            "context": {
                "request_id": "r",
                "tenant_id": "t",
                "extension_id": "e",
                "content_hash": name,
            },
            "http": {"method": "GET", "path": "/"},
            "limits": {"timeout_ms": 20_000},
        }
    )
    assert status == answer["status"] == 500
    assert answer["error"].startswith("component_unusable: ")
    assert reason in answer["error"]


async def test_a_component_without_a_handler_is_rejected(runner: Runner) -> None:
    other = component().replace(b"\x00\x07handler\x01", b"\x00\x07hendler\x01")
    assert other != component()
    response = await outcome(runner, other)
    assert response.status == 500
    assert (response.error or "").startswith("component_rejected: ")


async def test_other_executions_are_served_while_a_guest_loops(runner: Runner) -> None:
    looping = install_bytes(component(LOOP), runner.components)
    well = install_bytes(component(), runner.components)
    await runner.execute(well)
    [looper] = guest_processes()
    loop = asyncio.create_task(runner.execute(looping))
    await loops(looper)
    for _ in range(10):
        assert (await runner.execute(well)).status == 204
    assert not loop.done()
    looper.kill()
    assert (await loop).status == 502


class TestPythonGuest:
    """What a guest with an interpreter in it can try."""

    async def test_a_guest_sees_no_files_no_environment_and_no_network(
        self, runner: Runner
    ) -> None:
        arrived = asyncio.Event()
        server = await asyncio.start_server(lambda *_: arrived.set(), "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            bare = installed(BARE, runner)
            tried = json_of(await runner.execute(bare, "/walls", body=str(port).encode()))
        assert tried.pop("environment") == {}
        assert tried.pop("arguments") == []
        walls = {"files", "read", "write", "connect", "listen", "send", "lookup"}
        assert tried.keys() == walls
        assert all(list(result) == ["failed"] for result in tried.values())
        assert not arrived.is_set()

    async def test_a_guest_in_an_uninterruptible_sleep_is_terminated(self, runner: Runner) -> None:
        bare = installed(BARE, runner)
        response = await runner.execute(bare, "/sleep", timeout_ms=400)
        assert response.status == 504
        assert json_of(await runner.execute(bare, "/echo"))["http"]["url"] == "/echo"

    async def test_a_guest_that_allocates_4_gib_ends_in_an_error(self, runner: Runner) -> None:
        response = await runner.execute(installed(BARE, runner), "/grow")
        assert response.status == 500

    async def test_a_guest_that_exits_ends_in_an_error(
        self, runner: Runner, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.INFO):
            response = await runner.execute(installed(BARE, runner), "/leave")
        assert response == ExecuteResponse(status=500, error="guest_trap: exit status 1")

    async def test_a_guest_that_raises_ends_in_an_error_with_a_logged_traceback(
        self, runner: Runner, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.INFO):
            response = await runner.execute(installed(BARE, runner), "/fail")
            error = "guest_trap: extension.py:74: RuntimeError: on purpose"
            assert response == ExecuteResponse(status=500, error=error)
            # The process' output is read to its end when the process is gone.
            assert (await runner.execute(installed(BARE, runner), "/sleep", timeout_ms=100)).error
            await eventually(lambda: "RuntimeError: on purpose" in caplog.text)

    async def test_each_call_has_a_fresh_guest(self, runner: Runner) -> None:
        bare = installed(BARE, runner)
        answers = await asyncio.gather(*(runner.execute(bare, "/echo") for _ in range(8)))
        assert {answer.status for answer in answers} == {200}

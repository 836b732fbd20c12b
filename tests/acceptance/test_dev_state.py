"""``dev --state``: what a stack keeps between its runs, however they end."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from devstack import state as state_file
from devstack.embedded import private_directory
from runner_bridge.dev_runner.build import build_extension
from tests.support.dev_command import START_TIMEOUT_S, Terminal, only_stack, own_program
from tests.support.eventually import eventually
from tests.support.running_extensions import DEMO
from tests.support.sources import ROOT

pytestmark = pytest.mark.timeout(900)
SETUP = ("dev", "call", "POST", "/api/setup")
INSTALLED = "updated the install to 0.1.0+dev."


def ports(state: Path) -> dict[str, int]:
    return msgspec.json.decode((state / "ports.json").read_bytes(), type=dict[str, int])


def edit(source: Path, before: str, after: str) -> None:
    text = source.read_text()
    assert before in text
    source.write_text(text.replace(before, after))


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    with only_stack():
        yield


@pytest.fixture
def state() -> Iterator[Path]:
    """Yield a directory that the server's user can reach, unlike those of pytest."""
    with private_directory() as directory:
        yield directory / "state"


async def test_a_killed_stack_goes_on_with_its_ids_ports_and_schedules(
    tmp_path: Path, state: Path
) -> None:
    terminal, hello = Terminal(ROOT), tmp_path / "hello"
    terminal.output_of("new", hello)
    arguments = ("dev", hello, "--watch", "--state", state)
    async with terminal.running(tmp_path / "first", *arguments) as dev:
        assert terminal.output_of(*SETUP) == '200\n{"created": true}\n'
        before, listening = state_file.read(), ports(state)
        second = terminal.run(*arguments)
        assert (second.returncode, second.stderr) == (
            1,
            f"ext-scheduler: {state} is in use by another process\n",
        )
        dev.kill()
    gone = terminal.run(*SETUP)
    assert "no development stack is running" in gone.stderr
    edit(hello / "extension.py", '{"report": wanted', '{"edited": 1, "report": wanted')
    async with terminal.running(tmp_path / "second", *arguments) as dev:
        assert INSTALLED in dev.shown
        after = state_file.read()
        assert after.extension.rows.install_id == before.extension.rows.install_id
        assert (after.nats_url, after.runner_url) == (before.nats_url, before.runner_url)
        assert after.operator_password == before.operator_password
        assert ports(state) == listening
        # The schedule is still there, and calls what was saved while nothing ran.
        assert '"created": false' in terminal.output_of(*SETUP)
        assert '"edited": 1' in terminal.output_of("dev", "fire", "report")
    assert f"{state} keeps its state" in dev.shown
    async with terminal.running(tmp_path / "third", *arguments) as dev:
        assert INSTALLED not in dev.shown
        assert '"created": false' in terminal.output_of(*SETUP)


async def test_programs_that_are_left_out_can_be_started_as_it_prints(tmp_path: Path) -> None:
    terminal, hello = Terminal(ROOT), tmp_path / "hello"
    terminal.output_of("new", hello)
    arguments = ("dev", hello, "--watch", "--without", "bridge,dev-runner")
    async with terminal.running(tmp_path / "dev", *arguments) as dev:
        failed = terminal.run(*SETUP)
        assert "no response from the Runner" in failed.stderr
        lines = [line.strip() for line in dev.shown.splitlines() if " EXT_SCHEDULER_" in line]
        runner, bridge = (
            next(line for line in lines if f"ext-scheduler {name} " in line)
            for name in ("dev-runner", "bridge")
        )
        with (
            own_program(runner, ROOT, tmp_path / "runner.log"),
            own_program(bridge, ROOT, tmp_path / "bridge.log"),
        ):
            await eventually(lambda: terminal.run(*SETUP).returncode == 0, START_TIMEOUT_S)
            assert "success" in terminal.output_of("dev", "fire", "report")
        # An own Runner and bridge that end are no reason for the stack to end.
        assert "trigger=run_now" in terminal.output_of("dev", "logs", "worker")


async def test_a_ready_component_keeps_what_it_stored_after_a_kill(
    tmp_path: Path, state: Path
) -> None:
    terminal, ready = Terminal(ROOT), tmp_path / "ready"
    ready.mkdir()
    shutil.copy(DEMO / "manifest.json", ready)
    shutil.copy(build_extension(DEMO), ready / "extension.wasm")
    arguments = ("dev", ready / "extension.wasm", "--state", state)
    async with terminal.running(tmp_path / "first", *arguments) as dev:
        assert '"created": ["status", "heartbeat"]' in terminal.output_of(*SETUP)
        heartbeat = ("dev", "call", "POST", "/api/heartbeat", '{"a": 1}')
        assert '"calls": 1, "payload": {"a": 1}' in terminal.output_of(*heartbeat)
        assert '"calls": 2' in terminal.output_of("dev", "fire", "heartbeat")
        dev.kill()
    async with terminal.running(tmp_path / "second", *arguments):
        assert '"calls": 2' in terminal.output_of("dev", "call", "GET", "/api/status")
        assert '"calls": 3' in terminal.output_of(*heartbeat)

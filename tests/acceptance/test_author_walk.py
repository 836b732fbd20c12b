"""An author's walk: a new extension, run, called, fired, changed and broken, on one real stack."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack import state as state_file
from tests.support.dev_command import only_stack
from tests.support.eventually import eventually
from tests.support.sources import ROOT

PROGRAM = [sys.executable, "-m", "service"]
START_TIMEOUT_S = 240
UPDATE_TIMEOUT_S = 180


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def read(file: Path) -> str:
    return file.read_text()


def write(file: Path, text: str) -> None:
    file.write_text(text)


@pytest.fixture
def hello(tmp_path: Path) -> Path:
    directory = tmp_path / "hello"
    assert run("new", str(directory)).returncode == 0
    source = directory / "extension.py"
    # Yearly: a slot of its own would come between the runs that the walk starts by hand.
    yearly = read(source).replace('"*/5 * * * *"', '"0 0 1 1 *"')
    assert yearly != read(source)
    write(source, yearly)
    return directory


@pytest.fixture
def stack_output(tmp_path: Path, hello: Path) -> Iterator[Path]:
    """Yield the output of ``dev hello --watch``, which runs until the end."""
    output = tmp_path / "output"
    with only_stack():
        with output.open("wb") as file:
            process = subprocess.Popen(
                [*PROGRAM, "dev", str(hello), "--watch"], cwd=ROOT, stdout=file, stderr=file
            )
        try:
            yield output
        finally:
            process.send_signal(signal.SIGINT)
            status = process.wait(timeout=120)
    assert status == 0, output.read_text()


@pytest.mark.timeout(900)
async def test_an_author_gets_from_nothing_to_a_changed_extension(
    hello: Path, stack_output: Path
) -> None:
    await eventually(lambda: "Ctrl-C stops" in read(stack_output), START_TIMEOUT_S)
    shown = read(stack_output)
    assert "ext-scheduler dev call POST /api/report '{}'" in shown
    assert "call-setup.json" not in shown

    assert run("dev", "call", "POST", "/api/setup").stdout == '200\n{"created": true}\n'
    fired = run("dev", "fire", "report")
    assert fired.returncode == 0, fired.stderr
    assert re.match(r"run [0-9a-f-]{36}: success, attempt 1, \d+ ms\n200\n", fired.stdout)
    assert json.loads(fired.stdout.splitlines()[2])["report"] == {"of": "the schedule"}
    # Two at once are within one minute, unless it ends between them.
    repeated = (run("dev", "fire", "report").stdout for _ in range(3))
    assert any(
        re.search(r"the next can be started from \d\d:\d\d:00\nrun ", text) for text in repeated
    )
    logged = run("dev", "logs").stdout
    assert re.search(r"^[\d:.]{12} INFO    hello: report for \S+: \{", logged, re.MULTILINE)
    raw = run("dev", "logs", "--json").stdout
    assert json.loads(raw.splitlines()[-1])["message"]
    missing = run("dev", "call", "GET", "/nope")
    assert (missing.returncode, missing.stdout.splitlines()[0]) == (1, "404")
    unknown = run("dev", "fire", "other")
    assert unknown.stderr == "ext-scheduler: no schedule 'other'; there is report\n"

    before = state_file.read()
    source = hello / "extension.py"
    good = read(source)
    write(source, good + "def broken(:\n")
    await eventually(lambda: "The install remains" in read(stack_output), UPDATE_TIMEOUT_S)
    line = good.count("\n") + 1
    assert f"{source}:{line}: invalid syntax" in read(stack_output)
    assert "backtrace" not in read(stack_output)

    write(source, good.replace('{"report": wanted', '{"edited": True, "report": wanted'))
    await eventually(lambda: "after the change" in read(stack_output), UPDATE_TIMEOUT_S)
    after = state_file.read()
    assert (after.home, after.nats_url, after.runner_url) == (
        before.home,
        before.nats_url,
        before.runner_url,
    )
    assert after.extension.rows.install_id == before.extension.rows.install_id
    assert after.extension.content_hash != before.extension.content_hash
    # The schedule is still there, and calls the new version.
    again = run("dev", "call", "POST", "/api/setup")
    assert again.stdout == '200\n{"created": false}\n'
    assert '"edited": true' in run("dev", "call", "POST", "/api/report", "{}").stdout

    write(source, good.replace("    wanted = json.loads", "    1 / 0\n    wanted = json.loads"))
    await eventually(lambda: read(stack_output).count("after the change") == 2, UPDATE_TIMEOUT_S)
    line = good[: good.index("    wanted = json.loads")].count("\n") + 1
    error = f"500\nguest_trap: extension.py:{line}: ZeroDivisionError: division by zero\n"
    assert run("dev", "call", "POST", "/api/report", "{}").stdout == error
    await eventually(lambda: error in first_attempt(), 150)


def first_attempt() -> str:
    """Fire the schedule, and return what is printed until its first attempt has failed."""
    with subprocess.Popen(
        [*PROGRAM, "dev", "fire", "report"], cwd=ROOT, stdout=-1, text=True
    ) as it:
        assert it.stdout is not None
        shown = ""
        for line in it.stdout:
            shown += line
            if "guest_trap" in line:
                break
        it.terminate()
    return shown

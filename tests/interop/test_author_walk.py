"""The walk of the extension guide, from an empty directory and the wheel alone, as it is written.

The commands are those of the page; the times that they took are printed.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.dev_command import Terminal
from tests.support.sources import ROOT
from tests.support.wheel import fresh_environment

PAGE = (ROOT / "docs" / "extension-guide.md").read_text()
LANGUAGES = ("python", "typescript")
INSTALLED, REFUSED = "after the change", "The install remains as it was."
UPDATE_TIMEOUT_S = 600

pytestmark = pytest.mark.timeout(1800)


def commands(language: str, part: str) -> list[str]:
    """Return the command lines of one block of the page, without their comments."""
    [block] = re.findall(rf"^```sh {language} {part}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    return [line.partition("  #")[0].strip() for line in block.splitlines()]


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the programs of a fresh environment with the wheel and its extra ``dev``."""
    return fresh_environment(tmp_path_factory.mktemp("walk"), "dev")


class Walk:
    """A person with an empty directory, who notes how long things take."""

    def __init__(self, directory: Path, programs: Path) -> None:
        self.directory = directory
        self.variables = {
            **os.environ,
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "XDG_CACHE_HOME": str(directory.parent / "caches"),
        }
        self.times: list[tuple[str, float]] = []

    def note(self, what: str, began: float) -> None:
        """Note what took the time since ``began``."""
        self.times.append((what, time.monotonic() - began))

    def run(self, command: str) -> str:
        """Run a command line in a shell; it must succeed."""
        began = time.monotonic()
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            cwd=self.directory,
            env=self.variables,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        self.note(command, began)
        return done.stdout + done.stderr


@pytest.fixture
def walk(tmp_path: Path, programs: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Walk]:
    directory = tmp_path / "empty"
    directory.mkdir()
    walk = Walk(directory, programs)
    yield walk
    with capsys.disabled():
        sys.stdout.write("".join(f"\n{seconds:7.1f} s  {what}" for what, seconds in walk.times))


@pytest.mark.parametrize("language", LANGUAGES)
async def test_the_walk_of_the_guide(walk: Walk, tmp_path: Path, language: str) -> None:
    new, dev = commands(language, "start")
    walk.run(new)
    terminal = Terminal(walk.directory, ["/bin/sh", "-c", f'exec {dev} "$@"'], walk.variables)
    began = time.monotonic()
    async with terminal.running(tmp_path / "output", "sh") as running:
        walk.note(dev, began)
        shown = [walk.run(command) for command in commands(language, "use")]
        assert shown[0].startswith("200\n")
        assert re.match(r"run [0-9a-f-]{36}: success", shown[1])
        for changes, (text, count) in (("edit", (INSTALLED, 1)), ("mistake", (REFUSED, 1))):
            edit, *after = commands(language, changes)
            walk.run(edit)
            began = time.monotonic()
            await running.await_text(text, UPDATE_TIMEOUT_S, count)
            walk.note(f"  until the outcome of the {changes} was shown", began)
            for command in after:
                walk.run(command)
        assert mistake(language) in running.shown


def mistake(language: str) -> str:
    """Return the message that the page shows for its mistake."""
    [text] = re.findall(rf"^```text {language}\n(.*?)\n```$", PAGE, re.DOTALL | re.MULTILINE)
    return str(text).splitlines()[0]

"""Every example of the guides for the real ``nats`` program, on the shipped ``nats.conf``.

The program is the released one, built by ``go install`` where it is not there yet.
"""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from devstack.embedded import embedded_nats
from tests.support.command_line import CommandLine, command_line
from tests.support.platform import Installed, install
from tests.support.responders import responders
from tests.support.shipped_nats import CONFIG, ENVIRONMENT, PASSWORDS
from tests.support.sources import ROOT

PROGRAM = "github.com/nats-io/natscli/nats@v0.3.0"
DIRECTORY = ROOT / ".cache" / "natscli"
BLOCK = re.compile(r"^ *```\w*\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
CONTINUED = re.compile(r"\\\n\s*")
FOLLOWS = "nats sub "
"""Runs until it is ended."""
ENDED_AFTER_S, INTERRUPTED = "3", 130

pytestmark = pytest.mark.timeout(900)


def examples() -> list[str]:
    """Return the commands of every code block of the guides that begin with ``nats``."""
    found = []
    for guide in sorted((ROOT / "docs").glob("*.md")):
        text = guide.read_text()
        for block in re.findall(BLOCK, text):
            lines = CONTINUED.sub("", block).splitlines()
            commands = [line.strip() for line in lines]
            found += [command for command in commands if command.startswith("nats ")]
    return list(dict.fromkeys(found))


@pytest.fixture(scope="module")
def program() -> Path:
    """Return the directory of ``nats``."""
    if not (DIRECTORY / "nats").exists():
        DIRECTORY.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, "GOBIN": str(DIRECTORY)}
        done = subprocess.run(
            ["go", "install", PROGRAM], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    return DIRECTORY


class Shell:
    """Runs examples with the stack's address, password and ids in place of the guides' own."""

    def __init__(self, line: CommandLine, program: Path, url: str, installed: Installed) -> None:
        self._line = line
        self._url = url
        self._installed = installed
        scripts = line.home / "bin"
        scripts.mkdir()
        own = scripts / "ext-scheduler"
        own.write_text(f'#!/bin/sh\nexec {sys.executable} -m service "$@"\n')
        own.chmod(0o755)
        self._path = f"{program}:{scripts}:{os.environ['PATH']}"

    async def __call__(self, example: str) -> tuple[int, str]:
        """Return the exit status of an example, and all that it printed."""
        command = example.replace("nats://127.0.0.1:4222", self._url)
        command = command.replace("PASSWORD", PASSWORDS["operator"])
        command = re.sub(r"\bINSTALL\b", str(self._installed.install_id), command)
        command = re.sub(r"\bTENANT\b", self._installed.tenant_id, command)
        if command.startswith(FOLLOWS):
            command = f"timeout --preserve-status -s INT {ENDED_AFTER_S} {command}"
        environment = {
            **self._line.environment(self._line.settings),
            "PATH": self._path,
            "XDG_CONFIG_HOME": str(self._line.home / "config"),
            "HOME": str(self._line.home),
        }
        process = await asyncio.create_subprocess_shell(
            command,
            cwd=self._line.home,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        printed, _ = await process.communicate()
        assert process.returncode is not None
        return process.returncode, printed.decode()


@pytest.fixture
async def shell(
    tmp_path: Path, servers_directory: Path, database: str, pool: asyncpg.Pool, program: Path
) -> AsyncIterator[Shell]:
    """Yield a shell beside a responder, an install of ``acme``, and the keys."""
    installed = await install(pool, tenant_id="acme")
    with embedded_nats(
        servers_directory / "nats-command-line", config=CONFIG, environment=ENVIRONMENT
    ) as server:
        line = command_line(tmp_path, server.url)
        service = {
            "nats_user": "service",
            "nats_password": PASSWORDS["service"],
            "nats_inbox_prefix": "_INBOX_service",
        }
        async with responders(1, tmp_path, database, server.url, **service):
            yield Shell(line, program, server.url, installed)


async def test_every_example_of_the_guides_works(shell: Shell) -> None:
    listed = examples()
    assert len(listed) >= 9
    # The context is what the others connect by.
    listed.sort(key=lambda example: not example.startswith("nats context save"))
    printed = {}
    for example in listed:
        status, printed[example] = await shell(example)
        expected = INTERRUPTED if example.startswith(FOLLOWS) else 0
        assert status == expected, (example, status, printed[example])
        assert "nats: error" not in printed[example], printed[example]
        assert "violation" not in printed[example].lower(), printed[example]
    checks = [text for example, text in printed.items() if "check connection" in example]
    assert [check[:2] for check in checks] == ["OK"] * (len(checks) or 1), checks
    infos = [text for example, text in printed.items() if "micro info" in example]
    described = next(text for text in infos if text.startswith("{"))
    endpoints = {each["name"]: each for each in json.loads(described)["info"]["endpoints"]}
    assert "revision" in str(endpoints["list"]["metadata"]), endpoints["list"]
    for example, text in printed.items():
        if example.startswith("nats req ext.scheduler.list"):
            assert '"schedules"' in text, text

"""Runs the program ``ext-scheduler`` as a user does: a process, its outputs, its status."""

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import msgspec
from msgspec import Struct

from contracts.context import key_set_document
from tests.support.keys import JWKS, OPERATOR_JWK, PLATFORM_JWK, RUNNER_JWK, WORKER_JWK
from tests.support.preloaded import PreloadedProcess, RunRequest, run_request

KEYS = {
    "operator": OPERATOR_JWK,
    "platform": PLATFORM_JWK,
    "runner": RUNNER_JWK,
    "worker": WORKER_JWK,
}


class CommandResult(Struct, frozen=True):
    """Exit status and output of a command."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Return standard output, decoded as JSON."""
        return msgspec.json.decode(self.out)


class CommandLine:
    """Runs commands in ``home``, where the keys are, with these settings."""

    def __init__(self, home: Path, settings: Mapping[str, str]) -> None:
        self.home = home
        self.settings = settings
        for name, jwk in KEYS.items():
            (home / f"{name}.json").touch(mode=0o600)
            (home / f"{name}.json").write_bytes(key_set_document([jwk]))
        public = [{name: text for name, text in jwk.items() if name != "d"} for jwk in JWKS]
        (home / "keys.json").write_bytes(key_set_document(public))

    def environment(self, settings: Mapping[str, str]) -> dict[str, str]:
        """Return the caller's environment with these settings only."""
        inherited = {
            name: text for name, text in os.environ.items() if not name.startswith("EXT_SCHEDULER_")
        }
        chosen = {f"EXT_SCHEDULER_{name.upper()}": text for name, text in settings.items()}
        return {**inherited, **chosen, "PYTHONPATH": str(Path(__file__).parents[2])}

    async def start(self, *words: str, **settings: str) -> asyncio.subprocess.Process:
        """Start a command and leave it running."""
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "service",
            *words,
            cwd=self.home,
            env=self.environment({**self.settings, **settings}),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def __call__(self, *words: str, given: str = "", **settings: str) -> CommandResult:
        """Run a command to its end, with ``given`` on standard input."""
        request = run_request(words, self.environment({**self.settings, **settings}), self.home)
        return await asyncio.to_thread(run, request, given)

    async def ok(self, *words: str, **settings: str) -> CommandResult:
        """Run a command that must succeed."""
        result = await self(*words, **settings)
        assert result.status == 0, result
        return result

    async def json(self, *words: str, **settings: str) -> Any:
        """Run a command that must succeed, and read its JSON."""
        return (await self.ok(*words, "--json", **settings)).json


def run(request: RunRequest, given: str) -> CommandResult:
    """Run a command to its end on files in the place of its streams."""
    with TemporaryFile() as input_, TemporaryFile() as output, TemporaryFile() as errors:
        input_.write(given.encode())
        input_.seek(0)
        streams = (input_.fileno(), output.fileno(), errors.fileno())
        status = PreloadedProcess(request, streams).wait()
        output.seek(0)
        errors.seek(0)
        return CommandResult(status, output.read().decode(), errors.read().decode())


def command_line(home: Path, nats_url: str, **settings: str) -> CommandLine:
    """Return a command line that uses ``nats_url`` and the operator's key."""
    common = {"nats_url": nats_url, "admin_key_file": "operator.json", "admin_subject": "ops"}
    return CommandLine(home, {**common, **settings})


def error_line(result: CommandResult, status: int) -> str:
    """Return the only error line, without the program's name; assert the exit status."""
    assert result.status == status, result
    lines = result.err.splitlines()
    assert len(lines) == 1, result
    assert lines[0].startswith("ext-scheduler: "), result
    assert "Traceback" not in result.out + result.err
    return lines[0].removeprefix("ext-scheduler: ")

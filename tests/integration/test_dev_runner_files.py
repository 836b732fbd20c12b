"""The development Runner with files that it cannot use: one line, and a usage error."""

from pathlib import Path

import pytest

from runner_bridge.dev_runner.storage import MemoryStorage
from runner_bridge.dev_runner.storage_journal import StorageJournal
from service.cli.errors import EXIT_USAGE
from tests.support.command_line import CommandLine, command_line, error_line


@pytest.fixture
def line(tmp_path: Path, nats_url: str) -> CommandLine:
    return command_line(tmp_path, nats_url)


async def refusal(line: CommandLine, storage: Path) -> str:
    """Return why the Runner does not start with a file of what extensions stored."""
    words = ("--components", "components", "--cache", "cache", "--key", "runner.json")
    result = await line("dev-runner", *words, "--storage", str(storage), log_level="warning")
    return error_line(result, EXIT_USAGE)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"{", id="cut"),
        pytest.param(b"\0" * 64, id="zeros"),
        pytest.param(b"\xff", id="not text"),
        pytest.param(b'{"area":["t"]}', id="no change"),
        pytest.param(b'{"a":' + b"[" * 100_000, id="too deep"),
    ],
)
async def test_a_journal_damaged_in_the_middle_is_named_with_its_line_and_left_alone(
    line: CommandLine, tmp_path: Path, damage: bytes
) -> None:
    file = tmp_path / "storage.jsonl"
    store = MemoryStorage(StorageJournal(file))
    for key in "abc":
        entry = {"namespace": "n", "key": key, "value": b"v", "revision": None}
        assert "ok" in store.put(("tenant", "install"), entry)
    first, _, last, _ = file.read_bytes().split(b"\n")
    damaged = b"\n".join((first, damage, last, b""))
    file.write_bytes(damaged)
    assert (await refusal(line, file)).startswith(f"{file}, line 2: ")
    assert file.read_bytes() == damaged


async def test_a_journal_that_is_no_file_is_named(line: CommandLine, tmp_path: Path) -> None:
    assert await refusal(line, tmp_path) == f"{tmp_path}: Is a directory"

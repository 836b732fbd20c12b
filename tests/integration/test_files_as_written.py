"""Files as people and editors leave them, and users as containers have them."""

import os
from pathlib import Path

import pytest

from contracts.context import parse_key_set
from service.cli import files
from service.cli.login_name import login_name
from tests.support.command_line import command_line
from tests.support.keys import JWKS

BOM = b"\xef\xbb\xbf"
ADD_SECRET = ("keys", "generate", "--add", "--algorithm", "HS256", "--kid", "hs")


def mode(file: Path) -> int:
    return file.stat().st_mode & 0o777


async def test_a_secret_makes_an_open_key_file_private(tmp_path: Path, nats_url: str) -> None:
    line = command_line(tmp_path, nats_url)
    public = tmp_path / "keys.json"
    public.chmod(0o644)
    await line.ok(*ADD_SECRET, "--private", "new.json", "--public", "keys.json")
    assert "hs" in parse_key_set(public.read_bytes()).keys
    assert (mode(public), mode(tmp_path / "new.json")) == (0o600, 0o600)
    public.chmod(0o644)
    rotation = ("--private", "new.json", "--public", "keys.json", "--kid", "next")
    await line.ok("keys", "rotate", "--step", "add", *rotation)
    assert mode(public) == 0o600


@pytest.mark.parametrize(
    ("before", "written", "after"),
    [
        (0o644, files.PRIVATE, 0o600),
        (0o604, files.PRIVATE, 0o600),
        (0o640, files.PRIVATE, 0o640),
        (0o400, files.PRIVATE, 0o400),
        (0o664, files.PUBLIC, 0o664),
    ],
)
def test_a_private_document_is_never_open_to_all(
    tmp_path: Path, before: int, written: int, after: int
) -> None:
    file = tmp_path / "file"
    file.touch()
    file.chmod(before)
    files.write(file, b"{}", written)
    assert mode(file) == after


def test_a_byte_order_mark_is_no_part_of_a_document(tmp_path: Path) -> None:
    file = tmp_path / "manifest.json"
    file.write_bytes(BOM + b'{"a": 1}')
    assert files.read_json(file, dict[str, int], "a manifest") == {"a": 1}


async def test_key_files_with_a_byte_order_mark_work_in_every_command(
    tmp_path: Path, nats_url: str
) -> None:
    line = command_line(tmp_path, nats_url)
    for name in ("keys.json", "runner.json", "operator.json"):
        (tmp_path / name).write_bytes(BOM + (tmp_path / name).read_bytes())
    install = "00000000-0000-4000-8000-000000000000"
    mint = ("token", "mint", "list", "--key", "runner.json", "--install", install)
    token = (await line.ok(*mint)).out.strip()
    await line.ok("token", "inspect", token, "--key-set", "keys.json")
    rotation = ("--private", "runner.json", "--public", "keys.json", "--kid", "next")
    await line.ok("keys", "rotate", "--step", "add", *rotation)
    assert len(parse_key_set((tmp_path / "keys.json").read_bytes()).keys) == len(JWKS) + 1


def test_a_user_id_without_a_name_is_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 1_234_567_890)
    assert login_name() == "1234567890"

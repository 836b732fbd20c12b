"""Files as people and editors leave them, and users as containers have them."""

import os
from pathlib import Path
from typing import Any

import pytest

from console.proxy import TrustedProxies
from contracts.context import parse_key_set
from devstack.manifest import read_manifest
from service.cli import files
from service.cli.cells_file import read_cells
from service.cli.errors import CommandError
from service.cli.login_name import login_name
from service.runtime.webhooks_file import read_webhooks
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


CELLS = b"""
nats_base = "nats.conf"
nats_conf = "cells.conf"
reload = []
monitoring = []
cells = {}
"""
BOMB = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10))


@pytest.mark.parametrize("bomb", ["a0: &a0 [x]\n" + BOMB, "a: &a [*a]\n", "a: &a {b: *a}\n"])
def test_aliases_do_not_grow_into_billions_of_values(tmp_path: Path, bomb: str) -> None:
    file = tmp_path / "schedules.yaml"
    file.write_text(bomb)
    with pytest.raises(CommandError, match=r"schedules\.yaml: not a document"):
        files.read_yaml(file, dict[str, Any], "a document")


def test_aliases_of_an_honest_file_are_written_out(tmp_path: Path) -> None:
    file = tmp_path / "schedules.yaml"
    file.write_text("a: &a {cron: '0 * * * *'}\nb: [*a, *a]\n")
    hourly = {"cron": "0 * * * *"}
    assert files.read_yaml(file, dict[str, Any], "a document") == {"a": hourly, "b": [hourly] * 2}


def test_a_byte_order_mark_is_no_part_of_tables_and_manifests(tmp_path: Path) -> None:
    users, cells = tmp_path / "users.toml", tmp_path / "cells.toml"
    users.write_bytes(BOM + b'[users.ada]\ntenant = "*"\n')
    assert not TrustedProxies("x-user", ["127.0.0.1"], users).is_proxy("10.0.0.1")
    cells.write_bytes(BOM + CELLS)
    assert read_cells(cells).cells == {}
    manifest = tmp_path / "manifest.json"
    manifest.write_bytes(BOM + b'{"name": "a", "publisher": "b", "version": "1.0.0"}')
    assert read_manifest(tmp_path).name == "a"
    (tmp_path / "secret").write_bytes(BOM + b"a secret of the receiver\r\n")
    webhooks = tmp_path / "webhooks.toml"
    webhooks.write_bytes(BOM + b'[[webhook]]\nurl = "https://a.example"\nsecret_file = "secret"\n')
    assert read_webhooks(str(webhooks))[0].secret == b"a secret of the receiver"

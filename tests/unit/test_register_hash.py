"""The content hash that ``admin register`` computes from a file."""

import hashlib
from pathlib import Path

import pytest

from service.cli.admin.installs import _content_hash
from service.cli.errors import CommandError

NOTHING = {"content_hash": "", "component": None, "bundle": None}


@pytest.mark.parametrize("option", ["component", "bundle"])
def test_a_file_is_named_by_the_hash_of_all_its_bytes(tmp_path: Path, option: str) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"bytes")
    digest = hashlib.sha256(b"bytes").hexdigest()
    assert _content_hash(NOTHING | {option: file}) == f"sha256:{digest}"


def test_two_sources_of_the_hash_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="one of"):
        _content_hash(NOTHING | {"component": tmp_path, "bundle": tmp_path})

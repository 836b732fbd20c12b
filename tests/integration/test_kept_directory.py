"""What a stack keeps in a directory of its own: one owner, ports, passwords, keys."""

import socket
import subprocess
from pathlib import Path

import pytest

from devstack.embedded import guard, kept_directory
from devstack.embedded.directories import DirectoryInUse, has_owner
from devstack.home import Ports, nats_passwords, write_keys


def test_a_directory_has_one_owner_and_keeps_its_files(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with kept_directory(home) as directory:
        (directory / "file").write_text("kept")
        assert has_owner(home)
        with (
            pytest.raises(DirectoryInUse, match="is in use by another process"),
            kept_directory(home),
        ):
            pytest.fail("it has two owners")
    assert not has_owner(home)
    with kept_directory(home):
        assert (home / "file").read_text() == "kept"


def test_processes_of_an_owner_that_was_killed_are_ended(tmp_path: Path) -> None:

    (tmp_path / "part").mkdir()
    with subprocess.Popen(["sleep", "300"]) as orphan:
        guard.record(tmp_path / "part", orphan.pid)
        with kept_directory(tmp_path):
            assert orphan.poll() is not None


def test_a_port_is_kept_unless_another_program_has_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = Ports(tmp_path)
    port, other = first.take("nats"), first.take("console")
    assert first.take("nats") == port
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        second = Ports(tmp_path)
        moved = second.take("nats")
        assert (moved != port, second.take("console")) == (True, other)
    assert f"port {port} of nats is taken by another program: it is {moved} now" in (
        capsys.readouterr().out
    )
    assert Ports(tmp_path).take("nats") == moved


def test_passwords_and_keys_are_kept_and_private(tmp_path: Path) -> None:
    passwords = nats_passwords(tmp_path)
    write_keys(tmp_path)
    keys = (tmp_path / "keys.json").read_bytes()
    assert nats_passwords(tmp_path) == passwords
    write_keys(tmp_path)
    assert (tmp_path / "keys.json").read_bytes() == keys
    for name in ("passwords", "operator", "runner"):
        assert (tmp_path / f"{name}.json").stat().st_mode & 0o077 == 0

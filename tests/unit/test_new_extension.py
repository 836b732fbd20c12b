"""What ``new`` writes: an extension whose own tests pass, and one line where it cannot."""

import subprocess
import sys
from pathlib import Path

import pytest

from devstack.errors import StackError
from devstack.extension import development_version
from devstack.manifest import read_manifest
from devstack.new import write_extension


def test_a_new_extension_has_a_manifest_a_source_tests_and_a_readme(tmp_path: Path) -> None:
    written = write_extension(tmp_path / "hello")
    assert {str(path.relative_to(tmp_path / "hello")) for path in written} == {
        "README.md",
        "extension.py",
        "manifest.json",
        "tests/test_extension.py",
    }
    manifest = read_manifest(tmp_path / "hello")
    assert manifest.name == "hello"
    assert "cap:scheduler.manage" in manifest.capabilities


def test_the_tests_of_a_new_extension_pass(tmp_path: Path) -> None:
    write_extension(tmp_path / "hello")
    done = subprocess.run(
        [sys.executable, "-m", "unittest", "discover", "tests"],
        cwd=tmp_path / "hello",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Ran 5 tests" in done.stderr


def test_the_tests_of_a_new_extension_notice_a_broken_extension(tmp_path: Path) -> None:
    write_extension(tmp_path / "hello")
    source = tmp_path / "hello" / "extension.py"
    source.write_text(source.read_text().replace('"POST /api/report"', '"POST /api/other"'))
    done = subprocess.run(
        [sys.executable, "-m", "unittest", "discover", "tests"],
        cwd=tmp_path / "hello",
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1


@pytest.mark.parametrize("name", ["Hello", "1st", "with space", "ümlaut"])
def test_an_unusable_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(StackError, match="no name for an extension"):
        write_extension(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_directory_with_files_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "hello").mkdir()
    (tmp_path / "hello" / "extension.py").write_text("mine")
    with pytest.raises(StackError, match="not empty"):
        write_extension(tmp_path / "hello")
    assert (tmp_path / "hello" / "extension.py").read_text() == "mine"


def test_a_changed_manifest_or_component_has_another_development_version(tmp_path: Path) -> None:
    write_extension(tmp_path / "hello")
    manifest = read_manifest(tmp_path / "hello")
    first = development_version(manifest, "sha256:1").version
    assert first.startswith("0.1.0+dev.")
    assert development_version(manifest, "sha256:1").version == first
    assert development_version(manifest, "sha256:2").version != first
    text = (tmp_path / "hello" / "manifest.json").read_text()
    (tmp_path / "hello" / "manifest.json").write_text(text.replace("/api/report", "/api/weekly"))
    changed = read_manifest(tmp_path / "hello")
    assert development_version(changed, "sha256:1").version != first

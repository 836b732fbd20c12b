"""Mistakes in an extension's files: named by file and line, in the language's own words."""

from pathlib import Path

import pytest

from devstack.errors import StackError
from devstack.extension import build_source, fingerprint
from devstack.new import write_extension
from runner_bridge.dev_runner.build import BuildFailed, author_message, check_syntax


def test_a_syntax_error_is_shown_with_file_and_line_and_nothing_else(tmp_path: Path) -> None:
    write_extension(tmp_path / "hello")
    source = tmp_path / "hello" / "extension.py"
    source.write_text("import json\n\ndef broken(:\n    pass\n")
    with pytest.raises(StackError) as failure:
        build_source(tmp_path / "hello", tmp_path / "components")
    assert str(failure.value) == f"{source}:3: invalid syntax\n    def broken(:"


def test_a_syntax_error_in_another_module_is_named_too(tmp_path: Path) -> None:
    write_extension(tmp_path / "hello")
    (tmp_path / "hello" / "helper.py").write_text("x = (\n")
    with pytest.raises(StackError, match=r"helper\.py:1: '\(' was never closed"):
        build_source(tmp_path / "hello", tmp_path / "components")


def test_a_source_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="nothing does not exist"):
        build_source(tmp_path / "nothing", tmp_path / "components")


def test_a_directory_without_a_manifest_is_named(tmp_path: Path) -> None:
    with pytest.raises(StackError, match=r"manifest\.json: No such file"):
        build_source(tmp_path, tmp_path / "components")


def test_a_manifest_that_lacks_a_member_is_explained(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"name": "hello", "version": "1"}')
    with pytest.raises(StackError, match=r"manifest\.json: .*missing required field `publisher`"):
        build_source(tmp_path, tmp_path / "components")


def test_a_directory_without_any_source_is_explained(tmp_path: Path) -> None:
    write_extension(tmp_path / "hello")
    (tmp_path / "hello" / "extension.py").unlink()
    with pytest.raises(StackError, match=r"needs extension\.py, package\.json or exactly"):
        build_source(tmp_path / "hello", tmp_path / "components")


@pytest.mark.parametrize("given", ["", "ready.wasm"])
def test_a_ready_component_is_taken_as_it_is(tmp_path: Path, given: str) -> None:
    write_extension(tmp_path / "hello")
    (tmp_path / "hello" / "extension.py").unlink()
    (tmp_path / "hello" / "ready.wasm").write_bytes(b"component")
    _, content_hash = build_source(tmp_path / "hello" / given, tmp_path / "components")
    stored = tmp_path / "components" / f"{content_hash.removeprefix('sha256:')}.wasm"
    assert stored.read_bytes() == b"component"


def test_the_fingerprint_follows_sources_only(tmp_path: Path) -> None:
    write_extension(tmp_path / "hello")
    before = fingerprint(tmp_path / "hello")
    (tmp_path / "hello" / "notes.txt").write_text("x")
    assert fingerprint(tmp_path / "hello") == before
    (tmp_path / "hello" / "helper.py").write_text("x = 1")
    assert fingerprint(tmp_path / "hello") != before


def test_an_editors_lock_file_is_no_source(tmp_path: Path) -> None:
    write_extension(tmp_path / "hello")
    before = fingerprint(tmp_path / "hello")
    (tmp_path / "hello" / ".#extension.py").symlink_to("me@host.1234:5678")
    (tmp_path / "hello" / "gone.py").symlink_to("nothing")
    (tmp_path / "hello" / ".extension.py.swp.py").write_text("def broken(:")
    (tmp_path / "hello" / "folder.py").mkdir()
    assert fingerprint(tmp_path / "hello") == before
    check_syntax(tmp_path / "hello")


def test_a_link_to_a_source_is_followed(tmp_path: Path) -> None:
    write_extension(tmp_path / "hello")
    (tmp_path / "shared.py").write_text("x = 1")
    (tmp_path / "hello" / "shared.py").symlink_to(tmp_path / "shared.py")
    before = fingerprint(tmp_path / "hello")
    (tmp_path / "shared.py").write_text("def broken(:")
    assert fingerprint(tmp_path / "hello") != before
    with pytest.raises(BuildFailed, match=r"shared\.py:1: invalid syntax"):
        check_syntax(tmp_path / "hello")


COMPILER_OUTPUT = """Traceback (most recent call last):
  File "<string>", line 1, in <module>
AssertionError: Traceback (most recent call last):
  File "/0/extension.py", line 53, in <module>
    import nonsense_module
ModuleNotFoundError: No module named 'nonsense_module'


Caused by:
    ModuleNotFoundError: No module named 'nonsense_module'

Stack backtrace:
   0: <anyhow::Error>::msg::<alloc::string::String>
"""


def test_an_exception_while_compiling_is_shown_without_the_compilers_insides() -> None:
    assert author_message(Path("/my/hello"), COMPILER_OUTPUT) == (
        "/my/hello/extension.py:53: ModuleNotFoundError: No module named 'nonsense_module'\n"
        "    import nonsense_module"
    )


def test_an_error_without_a_line_of_the_authors_keeps_its_last_words() -> None:
    output = "Traceback (most recent call last):\nAssertionError: no such world\n\nCaused by:\n 1"
    assert author_message(Path("/my/hello"), output) == "hello: AssertionError: no such world"

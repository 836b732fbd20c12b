"""Extensions in JavaScript and TypeScript: what ``new`` writes, and what of npm an author sees."""

from pathlib import Path

import pytest

from devstack.extension import fingerprint
from devstack.javascript import author_lines
from devstack.new import Language, contents, write_extension
from tests.support.sources import ROOT

EXAMPLES = ROOT / "examples"


@pytest.mark.parametrize("language", [Language.JAVASCRIPT, Language.TYPESCRIPT])
def test_the_example_is_what_new_writes(language: Language) -> None:
    name = f"{language}-report"
    example = EXAMPLES / name
    for path, text in contents(name, language).items():
        assert (example / path).read_text() == text, f"write examples/{name} by `new`"


def test_what_a_build_writes_is_no_change_of_a_package(tmp_path: Path) -> None:
    source = tmp_path / "hello"
    write_extension(source, Language.TYPESCRIPT)
    before = fingerprint(source)
    (source / "extension.wasm").write_bytes(b"component")
    (source / "build").mkdir()
    (source / "build" / "extension.js").write_text("")
    assert fingerprint(source) == before
    (source / "extension.ts").write_text("export const handler = 1;")
    assert fingerprint(source) != before


def test_an_error_of_node_is_shown_without_its_insides() -> None:
    output = """/tmp/hello/extension.js:3
export function (
                ^

SyntaxError: Unexpected token '('
    at checkSyntax (node:internal/main/check_syntax:76:5)

Node.js v20.20.2
"""
    assert author_lines(output) == (
        "/tmp/hello/extension.js:3\nexport function (\n                ^\n"
        "SyntaxError: Unexpected token '('"
    )

"""What a terminal would obey is shown, by one function at every exit of the command line."""

import re
import sys
import unicodedata

import msgspec
import pytest

from service.cli.main import main
from service.cli.output import cell, json_text, print_json, print_line, print_notice
from service.rules.text import escape_controls

CONTROLS = [
    character
    for character in map(chr, range(sys.maxunicode + 1))
    if unicodedata.category(character) in {"Cc", "Zl", "Zp"}
    or unicodedata.bidirectional(character) in {"LRE", "RLE", "LRO", "RLO", "PDF"}
    or unicodedata.bidirectional(character) in {"LRI", "RLI", "FSI", "PDI"}
    or character in "\u200e\u200f\u061c"
]
TEXT = "".join(CONTROLS)


def shown(text: str) -> bool:
    return not any(control in text for control in CONTROLS)


def test_every_control_character_is_escaped_and_nothing_else() -> None:
    assert len(CONTROLS) > 70
    assert shown(escape_controls(TEXT))
    plain = "Ärger \\ \N{SNOWMAN} שלום \N{GRINNING FACE}"
    assert escape_controls(plain) == plain
    assert escape_controls("plain words") == "plain words"
    assert escape_controls("a\nb\x1b", keep_lines=True) == "a\nb\\u001b"


def test_the_escapes_are_those_of_json() -> None:
    assert msgspec.json.decode(f'"{escape_controls(TEXT)}"') == TEXT
    value = {"name": TEXT, TEXT: [TEXT]}
    assert msgspec.json.decode(json_text(value)) == value
    assert shown(json_text(value).replace("\n", ""))


def test_lines_and_notices_and_json_are_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    print_line(f"line {TEXT}")
    print_notice(f"notice {TEXT}")
    print_json([TEXT])
    output, errors = capsys.readouterr()
    assert shown(re.sub("\n", "", output))
    assert errors.count("\n") == 1
    assert shown(errors.rstrip("\n"))
    assert shown(cell(TEXT))


def test_an_error_line_is_escaped(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EXT_SCHEDULER_CONFIG", "restored afterwards")
    file = "/nonexistent/\x1b[2J\u202ebad"
    monkeypatch.setattr(sys, "argv", ["ext-scheduler", "--config", file, "migrate"])
    with pytest.raises(SystemExit):
        main()
    _, errors = capsys.readouterr()
    assert "\\u001b[2J\\u202ebad" in errors
    assert errors.count("\n") == 1

"""What in a valid manifest is probably a mistake."""

import json
from pathlib import Path

import pytest

from devstack.errors import StackError
from devstack.manifest import manifest_hints, read_manifest
from devstack.new import write_extension


def hints(directory: Path, before: str = "", after: str = "") -> list[str]:
    write_extension(directory / "hello")
    file = directory / "hello" / "manifest.json"
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after))
    assert read_manifest(directory / "hello").name == "hello"
    return manifest_hints(directory / "hello")


def test_what_new_writes_has_none(tmp_path: Path) -> None:
    assert hints(tmp_path) == []


@pytest.mark.parametrize(
    ("before", "after", "hint"),
    [
        (
            '"capabilities"',
            '"capabilites"',
            "capabilites is ignored; is it meant to be capabilities?",
        ),
        (
            '"schedulable"',
            '"scheduleable"',
            "api.endpoints[0].scheduleable is ignored; is it meant to be schedulable?",
        ),
        ('"endpoints"', '"endpoint"', "api.endpoint is ignored; is it meant to be endpoints?"),
        ("/api/setup", "api//report ", "POST /api/report is listed 2 times; the last one counts"),
    ],
)
def test_a_probable_mistake_is_named(tmp_path: Path, before: str, after: str, hint: str) -> None:
    assert hints(tmp_path, before, after) == [f"manifest.json: {hint}"]


def test_a_method_that_http_lacks_is_named(tmp_path: Path) -> None:
    assert hints(tmp_path, "POST", "FETCH") == [
        f"manifest.json: api.endpoints[{index}].method: FETCH is no method of HTTP"
        for index in range(2)
    ]


def test_other_members_of_a_platforms_manifest_are_no_mistakes(tmp_path: Path) -> None:
    write_extension(tmp_path / "hello")
    file = tmp_path / "hello" / "manifest.json"
    other = {"title": "Hello", "icon": "x.svg", "settings": [], "permissions": [], "apiVersion": 1}
    file.write_text(json.dumps(json.loads(file.read_text()) | other))
    assert manifest_hints(tmp_path / "hello") == []


@pytest.mark.parametrize("text", ["", "{", '{"name": "\\u12"}'])
def test_a_manifest_that_is_not_json_is_said_to_be_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(StackError, match=r"manifest\.json: not JSON: "):
        read_manifest(tmp_path)

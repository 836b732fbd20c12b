"""Log lines of a program as `dev logs` prints them."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import msgspec
import pytest

from service.cli.log_lines import print_log_lines, readable

EXTENSION = "5f4d8c2e-0000-4000-8000-000000000001"
AT = "2026-01-01T14:05:31.123+00:00"


def line(**members: object) -> str:
    return msgspec.json.encode(
        {"at": AT, "level": "info", "logger": "x", "message": "report for now", **members}
    ).decode()


def shown(written: str) -> tuple[str, str]:
    return readable(written, {EXTENSION: "hello"}, UTC)


def test_a_line_has_time_level_extension_message_and_fields() -> None:
    written = line(tenant="demo-tenant", extension=EXTENSION, request_id="r 1", status=200)
    assert shown(written) == (
        "14:05:31.123 INFO    hello: report for now request_id='r 1' status=200",
        "",
    )


@pytest.mark.parametrize(
    ("level", "style"), [("error", "red"), ("warning", "yellow"), ("info", ""), ("debug", "")]
)
def test_the_style_is_that_of_the_level(level: str, style: str) -> None:
    assert shown(line(level=level)) == (f"14:05:31.123 {level.upper():<7} report for now", style)


def test_another_extension_is_named_by_the_beginning_of_its_id() -> None:
    other = "0a1b2c3d-0000-4000-8000-000000000002"
    assert shown(line(extension=other))[0] == "14:05:31.123 INFO    0a1b2c3d: report for now"


def test_an_exception_follows_on_lines_of_its_own() -> None:
    text, _ = shown(line(exception="Traceback:\nValueError: no"))
    assert text.splitlines()[1:] == ["    Traceback:", "    ValueError: no"]


def test_a_message_of_several_lines_cannot_forge_one() -> None:
    assert shown(line(message="a\n14:05:31 b"))[0].endswith("a\\n14:05:31 b")


@pytest.mark.parametrize(
    "text", ["the Runner is listening", "{}", "[1]", "{", '{"at": "soon"}', ""]
)
def test_what_is_no_log_line_stays_as_it_is(text: str) -> None:
    assert shown(text) == (text, "")


def test_the_time_is_that_of_the_zone() -> None:
    assert readable(line(), {}, ZoneInfo("Asia/Tokyo"))[0].startswith("23:05:31.123 ")
    local = datetime.fromisoformat(AT).astimezone()
    assert readable(line(), {}, None)[0].startswith(f"{local:%H:%M:%S}.123 ")


def test_there_is_no_colour_where_no_terminal_is(capsys: pytest.CaptureFixture[str]) -> None:
    print_log_lines([line(level="error")], {})
    assert capsys.readouterr().out == "14:05:31.123 ERROR   report for now\n"

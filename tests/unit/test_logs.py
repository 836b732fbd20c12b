"""Log lines as programs and people read them."""

import logging
import sys

import msgspec
import pytest

from service.runtime.logs import JsonFormatter, LogFormat, TextFormatter, configure, fields


def record(**values: object) -> logging.LogRecord:
    made = logging.LogRecord("service.x", logging.WARNING, __file__, 1, "it %s", ("rains",), None)
    made.__dict__.update(fields(**values))
    return made


def test_json_lines_carry_the_fields() -> None:
    line = msgspec.json.decode(JsonFormatter().format(record(operation="list", tenant=None, n=2)))
    assert line["at"].endswith("+00:00")
    del line["at"]
    assert line == {
        "level": "warning",
        "logger": "service.x",
        "message": "it rains",
        "operation": "list",
        "n": 2,
    }


def test_json_lines_carry_the_exception() -> None:
    made = record()
    try:
        int("why")
    except ValueError:
        made.exc_info = sys.exc_info()
    line = msgspec.json.decode(JsonFormatter().format(made))
    assert "ValueError: invalid literal" in line["exception"]


def test_json_lines_carry_fields_added_by_other_packages() -> None:
    made = logging.LogRecord("runner_bridge.x", logging.INFO, __file__, 1, "refused", (), None)
    made.__dict__["request_id"] = "id-1"
    line = msgspec.json.decode(JsonFormatter().format(made))
    assert line["request_id"] == "id-1"
    assert set(line) == {"at", "level", "logger", "message", "request_id"}


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()])
def test_rows_that_the_database_quotes_are_left_out(formatter: logging.Formatter) -> None:
    quoted = "it failed\nDETAIL:  Failing row contains (1, secret,\n\nsecret).\nHINT:  Look."
    made = record()
    cause, error = ValueError(quoted), RuntimeError(quoted)
    error.__cause__ = cause
    made.exc_info = (type(error), error, None)
    text = formatter.format(made)
    assert "secret" not in text
    assert text.count("it failed") == text.count("(left out)") == text.count("Look.") == 2


def test_no_value_looks_like_another_field_or_line_of_text() -> None:
    text = TextFormatter().format(record(name="a b=c", path="x\nINFO forged"))
    assert text.endswith("it rains name='a b=c' path='x\\nINFO forged'")


HOSTILE = "\x1b[2J\x07\x7f\x9b31m\u202e\u2066\u2028\r\nforged\ufeff"


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()])
def test_no_line_controls_a_terminal(formatter: logging.Formatter) -> None:
    made = record(path=HOSTILE, spaced=f"a {HOSTILE}", **{f"name{HOSTILE}": 1})
    made.args = (HOSTILE,)
    error = ValueError(HOSTILE)
    made.exc_info = (type(error), error, None)
    text = formatter.format(made)
    assert [character for character in text.replace("\n", "") if not character.isprintable()] == []
    assert "\\u001b[2J\\u0007\\u007f\\u009b31m\\u202e\\u2066\\u2028\\r\\nforged" in text
    if isinstance(formatter, JsonFormatter):
        line = msgspec.json.decode(text)
        assert line["path"] == HOSTILE
        assert line["message"] == f"it {HOSTILE}"


@pytest.mark.parametrize(
    ("log_format", "terminal", "kind"),
    [
        ("auto", True, TextFormatter),
        ("auto", False, JsonFormatter),
        ("json", True, JsonFormatter),
        ("text", False, TextFormatter),
    ],
)
def test_lines_are_json_unless_on_a_terminal_or_set_otherwise(
    monkeypatch: pytest.MonkeyPatch, log_format: LogFormat, terminal: bool, kind: type
) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    queue_level = logging.getLogger("pgqueuer").level
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    try:
        for handler in handlers:  # configure closes what it finds
            root.removeHandler(handler)
        configure(log_format, "info")
        assert isinstance(root.handlers[0].formatter, kind)
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        logging.getLogger("pgqueuer").setLevel(queue_level)


def test_text_lines_are_for_people() -> None:
    assert TextFormatter().format(record(n=2)).endswith("WARNING it rains n=2")

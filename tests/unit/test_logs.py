"""Log lines as programs and people read them."""

import logging
import sys

import msgspec

from service.logs import JsonFormatter, TextFormatter, fields


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


def test_text_lines_are_for_people() -> None:
    assert TextFormatter().format(record(n=2)).endswith("WARNING it rains n=2")

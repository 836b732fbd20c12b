"""Log lines as programs and people read them."""

import asyncio
import io
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import msgspec
import pytest

from service.runtime.logs import (
    JsonFormatter,
    LogFormat,
    TextFormatter,
    TurnHandler,
    configure,
    fields,
)


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


class CountedStream(io.StringIO):
    """A text in memory, and how often it was written to."""

    writes = 0

    def write(self, text: str) -> int:
        self.writes += 1
        return super().write(text)


@pytest.fixture
def stream() -> CountedStream:
    return CountedStream()


@pytest.fixture
def written(stream: CountedStream) -> Iterator[logging.Logger]:
    """Yield a logger that writes its bare messages to ``stream``."""
    handler = TurnHandler(stream)
    log = logging.getLogger("written")
    log.setLevel(logging.INFO)
    log.propagate = False
    log.addHandler(handler)
    yield log
    log.removeHandler(handler)


async def test_lines_of_one_turn_of_the_loop_are_written_at_once(
    written: logging.Logger, stream: CountedStream
) -> None:
    for turn in (1, 2):
        for line in "ab":
            written.info("%s%d", line, turn)
        await asyncio.sleep(0)
        assert stream.writes == turn
    assert stream.getvalue() == "a1\nb1\na2\nb2\n"


async def test_a_warning_is_written_at_once_after_the_lines_before_it(
    written: logging.Logger, stream: CountedStream
) -> None:
    written.info("before")
    written.warning("now")
    assert stream.getvalue() == "before\nnow\n"
    written.info("after")
    await asyncio.sleep(0)
    assert stream.getvalue() == "before\nnow\nafter\n"


def test_lines_without_a_loop_are_written_at_once(
    written: logging.Logger, stream: CountedStream
) -> None:
    written.info("before")
    assert stream.getvalue() == "before\n"


async def test_a_line_of_another_thread_comes_after_those_before_it(
    written: logging.Logger, stream: CountedStream
) -> None:
    written.info("loop")
    thread = threading.Thread(target=written.info, args=("thread",))
    thread.start()
    thread.join()
    assert stream.getvalue() == "loop\nthread\n"


def test_what_a_loop_left_is_written_with_the_next_lines(
    written: logging.Logger, stream: CountedStream
) -> None:
    async def last_line(name: str) -> None:
        written.info(name)

    for name in ("first", "second"):
        asyncio.run(last_line(name))
    written.info("third")
    assert stream.getvalue() == "first\nsecond\nthird\n"


async def test_a_closed_stream_fails_no_writer(
    written: logging.Logger, stream: CountedStream
) -> None:
    stream.close()
    written.info("lost")
    await asyncio.sleep(0)
    written.warning("lost")


async def test_a_line_that_cannot_be_made_fails_no_writer(
    stream: CountedStream, capsys: pytest.CaptureFixture[str]
) -> None:
    handler = TurnHandler(stream)
    for text, value in (("%d", "no number"), ("%s", "whole")):
        handler.handle(logging.LogRecord("x", logging.INFO, "", 1, text, (value,), None))
    await asyncio.sleep(0)
    assert stream.getvalue() == "whole\n"
    assert "no number" in capsys.readouterr().err


def test_the_last_lines_of_a_process_are_written() -> None:
    program = """
import asyncio, logging
from service.runtime.logs import configure
async def main():
    logging.getLogger("x").info("last")
    asyncio.get_running_loop().stop()
configure("text", "info")
loop = asyncio.new_event_loop()
loop.create_task(main())
loop.run_forever()
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=os.environ
    )
    assert ended.stderr.endswith("last\n")

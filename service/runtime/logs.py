"""Log lines: one JSON object each in production, readable text on a terminal."""

import asyncio
import logging
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal, TextIO

import msgspec

from service.rules.text import escape_controls

LogFormat = Literal["auto", "json", "text"]
LogLevel = Literal["debug", "info", "warning", "error"]

_encode = msgspec.json.Encoder(enc_hook=str).encode
_RECORD_ATTRIBUTES = frozenset(logging.LogRecord("", 0, "", 0, "", None, None).__dict__) | {
    "message",
    "taskName",
}
# PostgreSQL quotes whole rows in the detail of an error, payloads included.
_DETAIL = re.compile(
    r"\nDETAIL:  .*?(?=\nHINT:  |\n\nThe above exception|\n\nDuring handling|\Z)", re.DOTALL
)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    given: dict[str, Any] | None = getattr(record, "fields", None)
    if given is not None:
        return given
    return {
        name: value for name, value in record.__dict__.items() if name not in _RECORD_ATTRIBUTES
    }


def _exception(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    assert record.exc_info  # noqa: S101 - the callers checked
    return _DETAIL.sub("\nDETAIL:  (left out)", formatter.formatException(record.exc_info))


@lru_cache(maxsize=1)
def _at(milliseconds: int) -> str:
    """Return an instant as text; the lines of a batch of requests share one or two."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds")


class JsonFormatter(logging.Formatter):
    """``at, level, logger, message``, then the fields of the line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "at": _at(int(record.created * 1000)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            line["exception"] = _exception(self, record)
        return escape_controls(_encode(line).decode())


class TextFormatter(logging.Formatter):
    """Time of day, level, message, then ``name=value`` pairs; values with spaces are quoted."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S.%f")[:-3]
        message = escape_controls(record.getMessage())
        text = f"{at} {record.levelname:<7} {message}{field_pairs(_fields(record))}"
        if record.exc_info:
            text += "\n" + escape_controls(_exception(self, record), keep_lines=True)
        return text


def field_pairs(values: Mapping[str, Any]) -> str:
    """Return `` name=value`` for each field of a line, on one line whatever they contain."""
    return "".join(f" {escape_controls(name)}={_word(value)}" for name, value in values.items())


def _word(value: object) -> str:
    """Return the value as one word, so that it cannot look like another field or line."""
    text = str(value)
    if text.isprintable() and " " not in text:
        return text
    quoted = escape_controls(text).replace("'", "\\'")
    return f"'{quoted}'"


class TurnHandler(logging.StreamHandler[TextIO]):
    """Writes what is logged in one turn of the event loop at once, at its end.

    Writing costs half as much as making a line, and a batch of requests ends in one turn. From
    WARNING on, or without a running loop, a line is written at once, after those before it.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._lines: list[str] = []
        self._written_by: asyncio.AbstractEventLoop | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Have a line written; called with the handler's lock."""
        try:
            self._lines.append(self.format(record) + self.terminator)
        except Exception:  # noqa: BLE001 - as for every handler: a line must not fail its writer
            self.handleError(record)
            return
        loop = None if record.levelno >= logging.WARNING else _running_loop()
        if loop is None:
            self.flush()
        elif self._written_by is not loop:
            self._written_by = loop
            loop.call_soon(self.flush)

    def flush(self) -> None:
        """Write all lines so far."""
        self.acquire()
        try:
            text, self._written_by = "".join(self._lines), None
            self._lines.clear()
            with suppress(OSError, ValueError):  # a stream that is gone, or closed: nobody listens
                if text:
                    self.stream.write(text)
                super().flush()
        finally:
            self.release()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def configure(log_format: LogFormat, level: LogLevel) -> None:
    """Send every log line of the process to standard error; ``auto`` is text on a terminal."""
    handler = TurnHandler(sys.stderr)
    text = log_format == "text" or (log_format == "auto" and sys.stderr.isatty())
    handler.setFormatter(TextFormatter() if text else JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # The queue library logs every job's traceback; the run record says the same once.
    logging.getLogger("pgqueuer").setLevel(logging.WARNING)
    # The driver's pool logs a traceback whenever it cannot connect, which it then tries again.
    logging.getLogger("asyncpg.pool").addFilter(_name_error)


def _name_error(record: logging.LogRecord) -> bool:
    """Put the error into the message in place of its traceback."""
    if record.exc_info:
        record.msg, record.args = f"{record.getMessage()}: {record.exc_info[1]}", ()
        record.exc_info = record.exc_text = None
    return True


def log_info(log: logging.Logger, message: str, **values: Any) -> None:  # noqa: ANN401 - as below
    """Log a line of level INFO with these fields; None values are left out.

    Without determining its caller, which no line shows and which is a third of a line's cost.
    """
    if log.isEnabledFor(logging.INFO):
        record = logging.LogRecord(log.name, logging.INFO, "", 0, message, (), None)
        record.__dict__.update(fields(**values))
        log.handle(record)


def fields(**values: Any) -> dict[str, dict[str, Any]]:  # noqa: ANN401 - any printable value
    """Return the ``extra`` argument that carries the given fields; None values are left out."""
    return {"fields": {name: value for name, value in values.items() if value is not None}}

"""Log lines: one JSON object each in production, readable text on a terminal."""

import logging
import sys
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

LogFormat = Literal["json", "text"]


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return getattr(record, "fields", None) or {}


class JsonFormatter(logging.Formatter):
    """``at, level, logger, message``, then the fields of the line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line, enc_hook=str).decode()


class TextFormatter(logging.Formatter):
    """Time of day, level, message, then ``name=value`` pairs."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S.%f")[:-3]
        pairs = "".join(f" {name}={value}" for name, value in _fields(record).items())
        text = f"{at} {record.levelname:<7} {record.getMessage()}{pairs}"
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return text


def configure(log_format: LogFormat, level: str) -> None:
    """Send every log line of the process to standard error in the given format."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # The queue library logs every job's traceback; the run record says the same once.
    logging.getLogger("pgqueuer").setLevel(logging.WARNING)


def fields(**values: Any) -> dict[str, dict[str, Any]]:  # noqa: ANN401 -- any printable value
    """Return the ``extra`` argument that carries the given fields; None values are left out."""
    return {"fields": {name: value for name, value in values.items() if value is not None}}

"""Log lines of a program as a person reads them: time, level, extension, message, fields."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Any

import msgspec

from service.cli import terminal
from service.cli.output import print_line
from service.rules.text import escape_controls
from service.runtime.logs import field_pairs

STYLES: Mapping[str, str] = {"error": "red", "critical": "red", "warning": "yellow"}
SHOWN_ELSEWHERE = frozenset(
    {"at", "level", "logger", "message", "exception", "extension", "tenant"}
)
"""Members that are no field of a line; a development stack has one tenant."""


def print_log_lines(lines: Sequence[str], extensions: Mapping[str, str]) -> None:
    """Print log lines, in colour and local time on a terminal.

    ``extensions`` has names by id. Raises CommandError when the reader is gone.
    """
    zone = None if terminal.is_terminal() else UTC
    for line in lines:
        print_line(*readable(line, extensions, zone))


def readable(line: str, extensions: Mapping[str, str], zone: tzinfo | None) -> tuple[str, str]:
    """Return a log line as text, and its style; what is no line of JSON is returned as it is.

    The time is that of ``zone``, by default this machine's.
    """
    try:
        members = msgspec.json.decode(line, type=dict[str, Any])
        at = datetime.fromisoformat(str(members["at"])).astimezone(zone)
        level, message = str(members["level"]), str(members["message"])
    except (msgspec.MsgspecError, KeyError, ValueError):
        return line, ""
    extension = str(members.get("extension", ""))
    source = f"{extensions.get(extension, terminal.short_id(extension))}: " if extension else ""
    fields = {name: value for name, value in members.items() if name not in SHOWN_ELSEWHERE}
    text = f"{at:%H:%M:%S}.{at.microsecond // 1000:03} {level.upper():<7} {source}"
    text += escape_controls(message) + field_pairs(fields)
    if "exception" in members:
        text += "".join(f"\n    {part}" for part in str(members["exception"]).splitlines())
    return text, STYLES.get(level, "")

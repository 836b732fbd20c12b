"""The parts of the npm test kit that come from the service: texts, limits, zones, types.

``python -m devstack.testing.npm_files`` writes them, as ``make api`` does; tests hold the
rules themselves against those of the service.
"""

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from msgspec.structs import asdict

from contracts.capabilities import DEFAULTS, KNOWN
from contracts.encoding import MAX_BODY_BYTES
from contracts.publish.typescript_extension import camel, records
from devstack.testing import scheduler
from runner_bridge.dev_runner import storage
from runner_bridge.dev_runner.interface import CAPABILITIES
from runner_bridge.dev_runner.scheduling import BAD_PAYLOAD
from service.rules import cron, fields, payload, zones
from service.rules.columns import LARGEST_INTEGER, SMALLEST_INTEGER
from service.rules.endpoints import NOT_SCHEDULABLE
from service.rules.limits import WINDOW, Limits
from service.rules.offsets import EPOCH, MINUTE, offset_period_at

LAST_YEAR = 2069
"""Clock changes are written up to the end of this year."""

_TEXTS = {
    "CRON_TOO_LONG": cron.TOO_LONG,
    "FIVE_FIELDS": cron.FIVE_FIELDS,
    "UNSUPPORTED": cron.UNSUPPORTED,
    "BOTH_DAYS": cron.BOTH_DAYS,
    "NEVER_FIRES": cron.NEVER_FIRES,
    "REQUIRED": fields.REQUIRED,
    "TIMEZONE_TOO_LONG": fields.TIMEZONE_TOO_LONG,
    "INVALID_TIMEZONE": fields.INVALID_TIMEZONE,
    "NAME_TOO_LONG": fields.NAME_TOO_LONG,
    "INVALID_NAME": fields.INVALID_NAME,
    "INVALID_ID": fields.INVALID_ID,
    "NAME_TAKEN": fields.NAME_TAKEN,
    "NOT_FOUND": fields.NOT_FOUND,
    "NOT_A_CONTAINER": payload.NOT_A_CONTAINER,
    "TOO_LARGE": payload.TOO_LARGE,
    "NOT_SERIALIZABLE": payload.NOT_SERIALIZABLE,
    "BAD_PAYLOAD": BAD_PAYLOAD,
    "NOT_SCHEDULABLE": NOT_SCHEDULABLE,
    "REQUEST_TOO_LARGE": scheduler.TOO_LARGE,
}
_STORAGE = {
    "MAX_KEY_CHARACTERS": storage.MAX_KEY_CHARACTERS,
    "MAX_VALUE_BYTES": storage.MAX_VALUE_BYTES,
    "MAX_AREA_BYTES": storage.MAX_AREA_BYTES,
    "MAX_AREA_ENTRIES": storage.MAX_AREA_ENTRIES,
    "PAGE_SIZE": storage.PAGE_SIZE,
}


def files() -> dict[str, str]:
    """Return the files by their path in the package."""
    return {
        "src/constants.ts": "\n".join([*_head(), *_constants(), ""]),
        "src/world.ts": "\n".join([*_head(), *records(), ""]),
    }


def zones_file() -> str:
    """Return the content of ``data/zones.json``, which takes seconds."""
    return json.dumps(_zones(), separators=(",", ":")) + "\n"


def _head() -> list[str]:
    return ["// Made from the service's rules by `make api`.", ""]


def _constants() -> Iterator[str]:
    for name, text in _TEXTS.items():
        yield f"export const {name} = {json.dumps(text)};"
    for name, number in _STORAGE.items():
        yield f"export const {name} = {number};"
    yield f"export const MAX_BODY_BYTES = {MAX_BODY_BYTES};"
    yield f"export const WINDOW_MS = {WINDOW.seconds * 1000};"
    yield f"export const SMALLEST_INTEGER = {SMALLEST_INTEGER}n;"
    yield f"export const LARGEST_INTEGER = {LARGEST_INTEGER}n;"
    yield f"export const CREATE_FIELDS = {json.dumps(fields.CREATE_FIELDS)} as const;"
    yield f"export const UPDATE_FIELDS = {json.dumps(fields.UPDATE_FIELDS)} as const;"
    yield f"export const KNOWN_CAPABILITIES: readonly string[] = {json.dumps(sorted(KNOWN))};"
    yield f"export const DEFAULT_CAPABILITIES: readonly string[] = {json.dumps(sorted(DEFAULTS))};"
    needed = {name.rpartition("/")[2]: capability for name, capability in CAPABILITIES.items()}
    yield f"export const CAPABILITIES = {json.dumps(needed)} as const;"
    yield "/** The limits of one install. Lengths are in characters (code points). */"
    yield "export const DEFAULT_LIMITS = {"
    for name, number in asdict(Limits()).items():
        yield f"  {camel(name.replace('_', '-'))}: {number},"
    yield "};"


def _zones() -> dict[str, object]:
    """Return the periods of every zone: minutes since 1970 at which one begins, and its offset."""
    distinct: dict[str, int] = {}
    names = {
        name: distinct.setdefault(_periods(name), len(distinct)) for name in sorted(zones.names())
    }
    return {
        "release": zones.release(),
        "until": _until(),
        "zones": names,
        "periods": [json.loads(text) for text in distinct],
    }


def _until() -> int:
    return (datetime(LAST_YEAR + 1, 1, 1, tzinfo=UTC) - EPOCH) // MINUTE


def _periods(name: str) -> str:
    zone = zones.load(name)
    assert zone is not None, name  # noqa: S101 - it is one of the package's names
    periods: list[tuple[int, int]] = []
    minute = 0
    while minute < _until():
        period = offset_period_at(zone, minute)
        if not periods or periods[-1][1] != period.offset:
            periods.append((minute, period.offset))
        minute = period.end
    return json.dumps(periods)


if __name__ == "__main__":
    for path, text in files().items():
        Path(sys.argv[1], path).write_text(text)
    zones_path = Path(sys.argv[1], "data", "zones.json")
    if not zones_path.exists() or f'"release":"{zones.release()}"' not in zones_path.read_text():
        zones_path.write_text(zones_file())

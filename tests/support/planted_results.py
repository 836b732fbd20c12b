"""Which planted faults were found, by the check that they were planted for."""

import json
from typing import Any

import msgspec

from tests.support.sources import ROOT

PLANTED_RESULTS = ROOT / "docs" / "proof" / "planted.json"


def keep_planted(check: str, name: str, result: dict[str, Any]) -> None:
    """Write what a check found of a planted fault, the other results kept as they were."""
    document: dict[str, dict[str, Any]] = {}
    if PLANTED_RESULTS.exists():
        document = json.loads(PLANTED_RESULTS.read_text())
    document.setdefault(check, {})[name] = result
    document = {key: dict(sorted(found.items())) for key, found in sorted(document.items())}
    PLANTED_RESULTS.write_bytes(msgspec.json.format(msgspec.json.encode(document)) + b"\n")

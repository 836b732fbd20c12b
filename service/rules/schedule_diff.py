"""What differs between a stored schedule and a declared one, as texts for people."""

from collections.abc import Mapping, Sequence

import msgspec

from contracts.admin_apply import FieldChange
from service.rules.columns import Container

Texts = Mapping[str, str | None]
"""The fields of a schedule as texts that are equal where the fields are; None is no value."""

MAX_TEXT = 200
"""Characters of a text that a difference shows."""


def texts(
    *, endpoint: str | None, cron: str, timezone: str, enabled: bool, payload: Container | None
) -> Texts:
    """Return the fields of a schedule as texts; a payload's members are sorted."""
    document = None if payload is None else msgspec.json.encode(payload, order="sorted").decode()
    return {
        "endpoint": endpoint,
        "cron": cron,
        "timezone": timezone,
        "enabled": "true" if enabled else "false",
        "payload": document,
    }


def differences(before: Texts | None, after: Texts | None) -> list[FieldChange]:
    """Return the fields that differ; None stands for a schedule that is not there."""
    names: Sequence[str] = tuple(before or after or {})
    pairs = ((name, (before or {}).get(name), (after or {}).get(name)) for name in names)
    return [
        FieldChange(field=name, before=_clipped(old), after=_clipped(new))
        for name, old, new in pairs
        if old != new
    ]


def _clipped(text: str | None) -> str | None:
    if text is None or len(text) <= MAX_TEXT:
        return text
    return f"{text[: MAX_TEXT - 1]}…"

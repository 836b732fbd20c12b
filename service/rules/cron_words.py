"""Cron expressions in words, for people: "At 02:30, Monday through Friday, Europe/Berlin time"."""

from collections.abc import Set as AbstractSet
from functools import lru_cache
from itertools import pairwise

from cron_descriptor import (  # type: ignore[import-untyped]  # it ships no py.typed
    Options,
    get_description,
)
from msgspec import Struct

from service.rules.cron import Cron

_OPTIONS = Options()
_OPTIONS.use_24hour_time_format = True
# Named, so that the words do not follow the language of the host.
_OPTIONS.locale_code = "en_US"


class _Field(Struct, frozen=True):
    """A field's lowest number, how many it has, and whether it begins anew where it ends."""

    lowest: int
    size: int
    cyclic: bool = True


# Steps of days begin anew with each month or week, whatever the last one was.
_FIELDS = (
    _Field(0, 60),
    _Field(0, 24),
    _Field(1, 31, cyclic=False),
    _Field(1, 12),
    _Field(0, 7, cyclic=False),
)


def describe(cron: Cron, timezone: str) -> str:
    """Return what an accepted expression means on the wall clock of a zone, in English."""
    clock = "UTC" if timezone in {"UTC", "Etc/UTC"} else f"{timezone} time"
    numbers = (cron.minute, cron.hour, cron.day, cron.month, cron.weekday)
    parts = zip(cron.text.split(), numbers, _FIELDS, strict=True)
    return f"{_words(' '.join(_describable(*part) for part in parts))}, {clock}"


def _describable(text: str, numbers: AbstractSet[int], field: _Field) -> str:
    """Return a field that means the same, in a spelling whose words are true.

    Those of a step say "every 45 minutes", also where it takes turns of 45 and 15.
    """
    if len(numbers) == field.size:
        return "*"
    if text.replace(",", "").isdecimal() or len(numbers) == 1 or _misleads(text, numbers, field):
        return ",".join(map(str, sorted(numbers)))
    return text


def _misleads(text: str, numbers: AbstractSet[int], field: _Field) -> bool:
    """Return whether the words of a field's step would hold for a part of the time only."""
    ordered = sorted(numbers)
    steps = {b - a for a, b in pairwise([*ordered, ordered[0] + field.size])}
    # Within the bounds of a range, the words name those as well.
    bounded = "-" in text and not text.startswith(
        f"{field.lowest}-{field.lowest + field.size - 1}/"
    )
    return "/" in text and not (field.cyclic and (len(steps) == 1 or bounded))


@lru_cache(maxsize=4096)
def _words(text: str) -> str:
    return str(get_description(text, _OPTIONS))

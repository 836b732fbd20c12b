"""Cron expressions in words, for people: "At 02:30, Monday through Friday, Europe/Berlin time"."""

from functools import lru_cache

from cron_descriptor import (  # type: ignore[import-untyped]  # it ships no py.typed
    Options,
    get_description,
)

from service.rules.cron import Cron

_OPTIONS = Options()
_OPTIONS.use_24hour_time_format = True
# Named, so that the words do not follow the language of the host.
_OPTIONS.locale_code = "en_US"


def describe(cron: Cron, timezone: str) -> str:
    """Return what an accepted expression means on the wall clock of a zone, in English."""
    clock = "UTC" if timezone in {"UTC", "Etc/UTC"} else f"{timezone} time"
    return f"{_words(cron.text)}, {clock}"


@lru_cache(maxsize=4096)
def _words(text: str) -> str:
    return str(get_description(" ".join(text.split()), _OPTIONS))

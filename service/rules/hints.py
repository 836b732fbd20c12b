"""What an author probably meant by a cron expression or a time zone that is refused.

Hints are for logs and command lines; the field errors of the contract do not change. Whatever is
suggested is accepted by the rules: each candidate is parsed before it is named.
"""

import re
from difflib import get_close_matches

from service.rules import zones
from service.rules.cron import InvalidCronError, parse

ALIASES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_BOUNDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))
_RANGE = re.compile(r"(?P<low>[0-9]+)-(?P<high>[0-9]+)(?P<step>/[0-9]+)?")
# A longer text is not a typing error, and comparing it with every name is expensive.
_LONGEST_HINTED = 128


def suggest_cron(expression: str, *, min_interval_minutes: int = 5) -> str | None:
    """Return an accepted expression close to a refused one, or None where there is none."""
    text = expression.strip().lower()
    if len(text) > _LONGEST_HINTED:
        return None
    if text in ALIASES:
        return ALIASES[text]
    fields = text.split()
    if len(fields) == 7:  # Quartz: seconds in front, a year behind
        fields = fields[1:6]
    elif len(fields) == 6:  # seconds in front
        fields = fields[1:]
    if len(fields) != 5:
        return None
    fields = [_plain_field(position, field) for position, field in enumerate(fields)]
    candidates = [" ".join(fields)]
    if fields[0] == "*" or re.fullmatch(r"\*/[0-9]+", fields[0]):
        candidates.append(" ".join([f"*/{min_interval_minutes}", *fields[1:]]))
    for candidate in candidates:
        try:
            parse(candidate, min_interval_minutes=min_interval_minutes)
        except InvalidCronError:
            continue
        return candidate
    return None


def suggest_timezone(name: str) -> str | None:
    """Return the zone that a refused name most likely means, or None where nothing is close."""
    text = re.sub(r"\s+", "_", name.strip())
    if len(text) > _LONGEST_HINTED:
        return None
    folded = {known.lower(): known for known in zones.names()}
    if text.lower() in folded:
        return folded[text.lower()]
    cities = [known for known in folded.values() if known.lower().endswith(f"/{text.lower()}")]
    if cities:
        return min(cities, key=lambda known: (known.count("/"), known))
    close = get_close_matches(text.lower(), folded, n=1, cutoff=0.8)
    return folded[close[0]] if close else None


def _plain_field(position: int, field: str) -> str:
    """Return a field with names as numbers, ``?`` as ``*`` and ranges across the end cut in two."""
    plain = field.replace("?", "*")
    names = {3: _MONTHS, 4: _WEEKDAYS}.get(position, ())
    for number, name in enumerate(names, 1 if position == 3 else 0):
        plain = re.sub(rf"\b{name}[a-z]*\b", str(number), plain)
    lowest, highest = _BOUNDS[position]
    return ",".join(_ascending(term, lowest, highest) for term in plain.split(","))


def _ascending(term: str, lowest: int, highest: int) -> str:
    match = _RANGE.fullmatch(term)
    if match is None or int(match["low"]) <= int(match["high"]):
        return term
    low, high = int(match["low"]), int(match["high"])
    if low > highest or match["step"]:
        return term
    return f"{_span(low, highest)},{_span(lowest, high)}"


def _span(low: int, high: int) -> str:
    return str(low) if low == high else f"{low}-{high}"

"""Payloads: validation, and the conversion to ``jsonb`` and back without loss."""

import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from itertools import accumulate, islice
from typing import Any

import msgspec

from service.rules.columns import (
    LARGEST_INTEGER,
    SMALLEST_INTEGER,
    Container,
    levels,
    members,
    read_container,
)
from service.rules.text import is_storable

NOT_A_CONTAINER = "Payload must be a JSON object or array"
TOO_LARGE = "Payload too large"
NOT_SERIALIZABLE = "Payload must be JSON-serializable"

# ``jsonb`` writes 1e300 as 301 digits and 1e-300 as 302, so what is stored may be longer than what
# was sent; without a bound, 100,000 characters would grow to five million, in every list that shows
# them.
_MAX_GROWTH = 4
# From here on every float is written with an exponent, and none has a fraction.
_POSITIONAL_FROM = 1e16
# Nearer to zero than that, floats are written with an exponent too.
_POSITIONAL_BELOW = 1e-5


def check(value: object, *, max_length: int = 100_000, max_depth: int = 64) -> str | None:
    """Return the field error of a decoded payload, None for a valid one (as ``None`` itself is).

    ``max_length`` counts code points of compact JSON with non-ASCII unescaped; in ``max_depth`` the
    root is 1. Integers are accepted from int64's lowest to uint64's highest.
    """
    if value is None:
        return None
    if not isinstance(value, dict | list):
        return NOT_A_CONTAINER
    if _has_more_members(value, (max_length - 1) // 2, max_depth):
        return TOO_LARGE
    if not _is_representable(value, max_depth):
        return NOT_SERIALIZABLE
    if len(msgspec.json.encode(value).decode()) > max_length:
        return TOO_LARGE
    return TOO_LARGE if len(to_json(value)) > _MAX_GROWTH * max_length else None


def to_json(value: Container) -> str:
    """Return the text to store for an accepted payload.

    ``jsonb`` keeps numbers as decimals and forgets exponents: a float of 1e21 would come back as an
    integer, so large floats are written out with a fraction, and tiny ones as long as they become.
    """
    return msgspec.json.encode(_positional(value)).decode()


def from_json(text: str | None) -> Container | None:
    """Return the value of a payload column of any content; see ``read_container``."""
    return read_container(text)


def _has_more_members(root: Container, limit: int, max_depth: int) -> bool:
    """Return whether there are more members than fit: each takes two characters, with its comma.

    Cheap, where looking at each of them would not be: a byte of MessagePack may be a member.
    """
    sizes = (sum(map(len, level)) for level in islice(levels(root), max_depth))
    return any(count > limit for count in accumulate(sizes))


def _is_representable(root: Container, max_depth: int) -> bool:
    return all(
        depth <= max_depth and all(map(_has_plain_members, level))
        for depth, level in enumerate(levels(root), start=1)
    )


def _has_plain_members(container: Container) -> bool:
    if isinstance(container, dict):
        for key in container:
            if type(key) is not str or not is_storable(key):
                return False
    for member in members(container):
        is_valid = _VALIDATORS.get(type(member))
        if is_valid is None or not is_valid(member):
            return False
    return True


def _is_carried(member: Any) -> bool:  # noqa: ANN401 - an integer, by its place in the table
    return bool(SMALLEST_INTEGER <= member <= LARGEST_INTEGER)


def _always(_: object) -> bool:
    return True


# By exact type: that is what decoders make, and payloads have thousands of members.
_VALIDATORS: Mapping[type, Callable[[Any], bool]] = {
    str: is_storable,
    int: _is_carried,
    float: math.isfinite,
    bool: _always,
    type(None): _always,
    dict: _always,
    list: _always,
}


_WRITTEN_OUT = frozenset({float, dict, list})


def _positional(value: object) -> object:
    if isinstance(value, dict | list) and _WRITTEN_OUT.isdisjoint(map(type, members(value))):
        return value
    match value:
        case dict():
            return {key: _positional(member) for key, member in value.items()}
        case list():
            return [_positional(member) for member in value]
        case float() if abs(value) >= _POSITIONAL_FROM:
            return msgspec.Raw(f"{Decimal(repr(value)):.1f}".encode())
        case float() if 0 < abs(value) < _POSITIONAL_BELOW:
            return msgspec.Raw(f"{Decimal(repr(value)):f}".encode())
    return value

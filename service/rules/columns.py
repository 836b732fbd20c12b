"""JSON columns written by other programs: they may hold anything, and reading them never raises."""

import json
import math
import re
import sys
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

import msgspec

Container: TypeAlias = dict[Any, Any] | list[Any]

SMALLEST_INTEGER, LARGEST_INTEGER = -(2**63), 2**64 - 1
"""The integers that JSON, MessagePack and ``jsonb`` all carry: int64 and uint64 together."""

# Both alternatives begin with a digit: factored out, so that the search does not backtrack.
_MAY_EXCEED_64_BITS = re.compile(r"[0-9](?:[0-9]{18}|[eE]\+?[0-9]{3})")
_READABLE_DEPTH = 256


def read_container(text: str | None) -> Container | None:
    """Return the object or array that JSON text holds, in values that both encodings carry.

    JSON text inside a JSON string is decoded, integers beyond 64 bits become floats, numbers beyond
    those the largest float. Anything else, and what is nested deeper than a reply could be written,
    is None.
    """
    if text is None:
        return None
    try:
        value = _decode(text)
        if isinstance(value, str):
            value = _decode(value)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    if not isinstance(value, dict | list):
        return None
    # Every level takes two characters, so most texts are too short to be nested too deeply.
    if len(text) > 2 * _READABLE_DEPTH and _is_deeper(value, _READABLE_DEPTH):
        return None
    return value


def read_list(text: str | None) -> list[Any] | None:
    """Return the array that JSON text holds, None where it holds none."""
    value = read_container(text)
    return value if isinstance(value, list) else None


def levels(root: object) -> Iterator[list[Container]]:
    """Yield the objects and arrays at each depth, in a loop: nesting must not exhaust the stack."""
    level: list[Container] = [root] if isinstance(root, dict | list) else []
    while level:
        yield level
        inner = (member for container in level for member in members(container))
        level = [member for member in inner if isinstance(member, dict | list)]


def members(container: Container) -> Iterable[object]:
    """Return the values of an object, or the items of an array."""
    return container.values() if isinstance(container, dict) else container


def _is_deeper(root: Container, depth: int) -> bool:
    return any(level > depth for level, _ in enumerate(levels(root), start=1))


def _decode(text: str) -> object:
    if _MAY_EXCEED_64_BITS.search(text) is None:
        return msgspec.json.decode(text)
    value = json.loads(text, parse_int=_integer, parse_float=_float)
    # json is laxer than msgspec: here NaN becomes null, and a lone surrogate an error.
    return msgspec.json.decode(msgspec.json.encode(value))


def _integer(digits: str) -> int | float:
    # Only short ones are converted: int() refuses thousands of digits, with an error of its own.
    number = int(digits) if len(digits) <= 20 else LARGEST_INTEGER + 1
    return number if SMALLEST_INTEGER <= number <= LARGEST_INTEGER else _float(digits)


def _float(digits: str) -> float:
    number = float(digits)
    return number if math.isfinite(number) else math.copysign(sys.float_info.max, number)

"""Untrusted MessagePack: map keys must be text, which is checked before anything is built.

A decoder turns an array that is a map key into a tuple, and tuples with equal hashes are easy to
make, as are integers and floats: 224 KB of them take seconds to put into one dict. Texts are hashed
with a secret.
"""

import re
from typing import Any

import msgspec

MAX_VALUES = 65_536
"""How many values, keys included, a body may hold: a payload of the default limits has fewer."""
_TYPED_DEPTH = 5


class KeyNotText(ValueError):
    """A map key that is not text."""


class TooManyValues(ValueError):
    """More values than ``MAX_VALUES``."""


def _plain_value(depth: int) -> Any:  # noqa: ANN401 - a type made here, for the decoder alone
    """Return the type of JSON values nested up to ``depth``; its size doubles with each level."""
    plain = None | bool | int | float | str
    if depth == 0:
        return plain
    inner = _plain_value(depth - 1)
    return plain | list[inner] | dict[str, inner]  # type: ignore[valid-type]  # made at run time


_PLAIN = msgspec.msgpack.Decoder(dict[str, _plain_value(_TYPED_DEPTH)])  # type: ignore[misc]  # made at run time
_ANY = msgspec.msgpack.Decoder()


def decode(body: bytes) -> object:
    """Return the value of a document, whose maps have only texts as keys.

    Raises KeyNotText, TooManyValues, and what msgspec raises for what it cannot read.
    """
    if len(body) <= MAX_VALUES:  # a value takes a byte at least
        try:
            return _PLAIN.decode(body)
        except msgspec.ValidationError:
            pass  # a map key, or only a value that no field takes: bytes, deep nesting
    _scan(body)
    return _ANY.decode(body)


# The length of a value by its first byte; 0 where it depends on more.
_LENGTHS = bytes(
    [
        *[1] * 0x80,  # positive integers
        *[0] * 0x20,  # maps and arrays
        *range(1, 0x21),  # texts
        *(1, 1, 1, 1),  # nil, unused, false, true
        *(0, 0, 0, 0, 0, 0),  # bytes, extensions
        *(5, 9, 2, 3, 5, 9, 2, 3, 5, 9),  # floats, integers
        *(3, 4, 6, 10, 18),  # extensions of a fixed length
        *(0, 0, 0, 0, 0, 0, 0),  # texts, arrays, maps
        *[1] * 0x20,  # negative integers
    ]
)
# First byte: how many bytes state the length, and what comes besides that length.
_SIZED = {0xC4: (1, 0), 0xC5: (2, 0), 0xC6: (4, 0), 0xC7: (1, 1), 0xC8: (2, 1), 0xC9: (4, 1)}
_TEXTS = {0xD9: (1, 0), 0xDA: (2, 0), 0xDB: (4, 0)}
_ARRAYS, _MAPS = {0xDC: 2, 0xDD: 4}, {0xDE: 2, 0xDF: 4}
_SHORT = re.compile(rb"[\x00-\x7f\xc0\xc2\xc3\xe0-\xff]*")


def _scan(body: bytes) -> None:
    """Raise KeyNotText or TooManyValues; build nothing. Stops where the document is cut short."""
    end, at, values = len(body), 0, 0
    outer: list[tuple[int, bool]] = []
    left, in_map = 1, False
    while True:
        while not left:
            if not outer:
                return
            left, in_map = outer.pop()
        if at >= end:
            return
        first = body[at]
        if in_map and not left & 1 and not (0xA0 <= first <= 0xBF or first in _TEXTS):
            raise KeyNotText
        left -= 1
        values += 1
        length = _LENGTHS[first]
        if length:
            at += length
            if not in_map and length == 1:
                run = _SHORT.match(body, at, min(end, at + left))
                assert run is not None  # noqa: S101 - it matches nothing, too
                skipped = run.end() - at
                at, left, values = run.end(), left - skipped, values + skipped
        elif first in _TEXTS or first in _SIZED:
            width, more = _TEXTS.get(first) or _SIZED[first]
            at += 1 + width + more + int.from_bytes(body[at + 1 : at + 1 + width])
        else:
            outer.append((left, in_map))
            in_map = first < 0x90 or first in _MAPS
            width = 0 if first < 0xA0 else (_ARRAYS.get(first) or _MAPS[first])
            count = int.from_bytes(body[at + 1 : at + 1 + width]) if width else first & 15
            left = 2 * count if in_map else count
            at += 1 + width
        if values > MAX_VALUES:
            raise TooManyValues

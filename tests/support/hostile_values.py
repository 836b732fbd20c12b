"""Values that no caller should send, in the bytes of either encoding, and mutated bytes."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from random import Random
from typing import Any

import msgspec

from contracts.encoding import Encoding

DEPTHS = (2, 63, 64, 65, 256, 1_000, 20_000)
LENGTHS = (1, 64, 65, 127, 128, 129, 256, 257, 5_000, 100_001)
CHARACTERS = "a/ :*%'\"\\\0\t\n\r\x7f\x85\xa0ß\u0660\u200b\u202e\u2028\ufeff\uffff😀{}0"
SCALARS: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2**31, -(2**63), 2**63, 2**64 - 1),
    *(0.0, -0.0, 1e16, 1e21, 1.7976931348623157e308, 5e-324, float("nan"), float("inf")),
    *("", "null", "0 * * * *", "UTC", "../../etc/passwd", "$1; DROP TABLE x; --", "\0"),
    *([], {}, [[]], {"": None}, [None] * 300, {"a": {"b": [1, 2.5, "ä"]}}),
)
MSGPACK_ONLY = (
    *map(
        msgspec.msgpack.encode,
        (
            b"\x00\xff",
            msgspec.msgpack.Ext(5, b"x"),
            msgspec.msgpack.Ext(-1, b"\xff" * 4),
            datetime(2026, 1, 1, tzinfo=UTC),
            {1: 2},
            {True: None, None: 1},
            {b"key": 1},
            [{"deep": msgspec.msgpack.Ext(-1, b"\xff" * 12)}],
        ),
    ),
    b"\xa2\xff\xfe",  # a text that is not UTF-8
    b"\xa3\xed\xa0\x80",  # a lone surrogate
    b"\xc1",  # a byte that means nothing
    b"\xdd\xff\xff\xff\xff",  # four billion members, says the header
    b"\xdf\xff\xff\xff\xff",
    b"\xdb\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff",
    b"\xc9\xff\xff\xff\xff\x01",
    b"\xd6\xff\xff\xff\xff\xff",
    b"\xc7\x03\xff\x01\x02\x03",  # a timestamp of three bytes
    b"\x82\xa1a\x01\xa1a\x02",  # one name twice
)
JSON_ONLY = (
    *(b"NaN", b"-Infinity", b"1e999", b"-1e999", b"1E+400", b"0.1e-9999", b"-0", b"1" * 30),
    *(b"1" * 5_000, b"01", b"+1", b".5", b"0x10", b"1_0", b"1e", b"'a'", b"tru", b"nul"),
    *(rb'"\ud800"', rb'"\udc00\ud800"', rb'"\u0000"', rb'"\x"', rb'"\u12"', b'"\xff\xfe"'),
    *(rb'{"\ud800":1}', rb'{"\u0000":1}', b'{"a":1,"a":2}', b"{1:2}", b"[1,]", b'{"a":1,}'),
    *(b'"\xed\xa0\x80"', b'"tab\there"', b"/*x*/1", b"\xef\xbb\xbf1", b'"unfinished', b"[", b"{"),
)


def hostile_text(random: Random) -> str:
    """Return a text of a length near some limit, of characters that are special somewhere."""
    length = random.choice(LENGTHS)
    few = random.choices(CHARACTERS, k=random.randint(1, 4))
    return "".join(random.choices(few, k=length)) if length < 1_000 else few[0] * length


def hostile_cron(random: Random) -> str:
    """Return what is nearly a cron expression."""
    if random.random() < 0.3:
        return " ".join(random.choices("0123456789*/,-?LW# \t\u0660", k=random.randint(1, 140)))
    terms = ("*", "*/5", "0", "5/7", "0-59", "23", "59/1", "7", "31", "1,2", "0-0", "*/99999999999")
    return random.choice((" ", "\t", "  ")).join(
        ",".join(random.choices(terms, k=random.randint(1, 3))) for _ in range(5)
    )


def hostile_value(random: Random, encoding: Encoding) -> bytes:
    """Return the bytes of one value, perhaps not even well-formed."""
    kind = random.random()
    if kind < 0.3:
        return encoded(random.choice(SCALARS), encoding)
    if kind < 0.5:
        return encoded(hostile_text(random), encoding)
    if kind < 0.6:
        return encoded(hostile_cron(random), encoding)
    if kind < 0.7:
        return _nested(random, encoding)
    return random.choice(MSGPACK_ONLY if encoding is Encoding.MSGPACK else JSON_ONLY)


def encoded(value: object, encoding: Encoding) -> bytes:
    """Return any value, as Python's own JSON writes what msgspec would not."""
    if encoding is Encoding.MSGPACK:
        return msgspec.msgpack.encode(value)
    return json.dumps(value, ensure_ascii=False).encode()


def assembled(members: Mapping[str, bytes], encoding: Encoding) -> bytes:
    """Return a map of values that are encoded already."""
    if encoding is Encoding.MSGPACK:
        pairs = (msgspec.msgpack.encode(name) + value for name, value in members.items())
        return bytes([0x80 | len(members)]) + b"".join(pairs)
    return b"{" + b",".join(b'"%s":%s' % (n.encode(), v) for n, v in members.items()) + b"}"


def mutated(random: Random, data: bytes) -> bytes:
    """Return a few bytes flipped, taken out, put in, doubled or cut off."""
    changed = bytearray(data)
    for _ in range(random.randint(1, 4)):
        random.choice(_MUTATIONS)(random, changed)
    return bytes(changed)


def _nested(random: Random, encoding: Encoding) -> bytes:
    depth = random.choice(DEPTHS)
    if encoding is Encoding.MSGPACK:
        opening = random.choice((b"\x91", b"\x81\xa1a"))
        return opening * depth + random.choice((b"\xc0", b"\x01", b""))
    opening, closing = random.choice(((b"[", b"]"), (b'{"a":', b"}")))
    return opening * depth + b"1" + closing * (depth - random.randint(0, 1))


def _flip(random: Random, data: bytearray) -> None:
    if data:
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)


def _cut(random: Random, data: bytearray) -> None:
    del data[random.randrange(len(data) + 1) :]


def _drop(random: Random, data: bytearray) -> None:
    at = random.randrange(len(data) + 1)
    del data[at : at + random.randint(1, 8)]


def _insert(random: Random, data: bytearray) -> None:
    at = random.randrange(len(data) + 1)
    data[at:at] = random.randbytes(random.randint(1, 8))


def _double(random: Random, data: bytearray) -> None:
    at = random.randrange(len(data) + 1)
    data[at:at] = data[at : at + 16]


_MUTATIONS: tuple[Callable[[Random, bytearray], None], ...] = (_flip, _cut, _drop, _insert, _double)

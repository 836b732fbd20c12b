"""What the payload rule accepts comes back equal from a real ``jsonb``, in both encodings."""

import math
import random
from typing import Any

import asyncpg
import msgspec

from service.rules.columns import Container
from service.rules.payload import check, from_json, to_json

ROUND_TRIP = """
SELECT t.payload::jsonb::text AS payload
FROM unnest($1::text[]) WITH ORDINALITY t (payload, n) ORDER BY n
"""

FLOATS = [
    *(
        sign * base
        for base in (0.1, 1.0, 1e15, 1e16, 1e21, 1e-7, 5e-324, 1e300)
        for sign in (1, -1)
    ),
    1.7976931348623157e308,
    2.2250738585072014e-308,
    9007199254740993.0,
    123456789012345678.0,
    0.30000000000000004,
]
TEXTS = ["", "é", "\u2028\u0001\x7f", "\U0001f600", '"\\/', "null", "\ufeff", "0"]


def same(left: object, right: object) -> bool:
    """Return whether both are equal, and of the same types all the way down."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    return type(left) is type(right) and left == right


def scalar(source: random.Random) -> Any:
    match source.randrange(6):
        case 0:
            return source.choice([None, True, False])
        case 1:
            return source.choice([0, -1, -(2**63), 2**63 - 1, 2**63, 2**64 - 1])
        case 2:
            return source.choice(FLOATS)
        case 3:
            return math.ldexp(source.uniform(-1, 1), source.randrange(-1070, 1020))
        case 4:
            return source.randint(-(2**63), 2**64 - 1)
    return source.choice(TEXTS)


def value(source: random.Random, depth: int) -> Any:
    if depth == 0 or source.random() < 0.4:
        return scalar(source)
    return container(source, depth)


def container(source: random.Random, depth: int) -> Container:
    members = [value(source, depth - 1) for _ in range(source.randrange(5))]
    if source.random() < 0.5:
        return members
    return {f"{source.choice(TEXTS)}{n}": member for n, member in enumerate(members)}


def nested(depth: int) -> list[Any]:
    return [] if depth == 1 else [nested(depth - 1)]


async def test_accepted_payloads_come_back_equal(pool: asyncpg.Pool) -> None:
    source = random.Random(20260101)
    payloads = [container(source, 5) for _ in range(500)]
    payloads += [FLOATS, TEXTS, {text: text for text in TEXTS}, nested(64), [], {}]
    assert [check(payload) for payload in payloads] == [None] * len(payloads)
    rows = await pool.fetch(ROUND_TRIP, [to_json(payload) for payload in payloads])
    assert len(rows) == len(payloads)
    for row, payload in zip(rows, payloads, strict=True):
        stored = from_json(row["payload"])
        assert same(stored, payload)
        assert same(msgspec.json.decode(msgspec.json.encode(stored)), payload)
        assert same(msgspec.msgpack.decode(msgspec.msgpack.encode(stored)), payload)


async def test_the_longest_accepted_payload_fits(pool: asyncpg.Pool) -> None:
    payload = ["\U0001f600" * 99_996]
    assert check(payload) is None
    rows = await pool.fetch(ROUND_TRIP, [to_json(payload)])
    assert from_json(rows[0]["payload"]) == payload

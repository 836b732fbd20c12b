"""Bodies made to cost much: read, or refused, within a bounded time of the processor."""

import gc
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import islice, product
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import messagepack
from contracts.encoding import MAX_BODY_BYTES, Encoding, MalformedBody, decode_map
from service.rules import payload
from tests.support.loop_watch import slowness

HELD_MS = 50.0
"""For how long one body may hold the event loop."""
HEAD = b"\x81\xa7payload"
JSON_HEAD = b'{"payload":'


def msgpack_array(members: bytes, size: int) -> bytes:
    count = (MAX_BODY_BYTES - len(HEAD) - 5) // size
    return HEAD + b"\xdd" + count.to_bytes(4) + members * count


def msgpack_map(member: bytes) -> bytes:
    count = (MAX_BODY_BYTES - len(HEAD) - 5) // len(member)
    return HEAD + b"\xdf" + count.to_bytes(4) + member * count


def colliding_keys() -> bytes:
    """Return a map whose keys are arrays with one hash: -1 and -2 have the same."""
    length = 18
    keys = list(islice(product(b"\xff\xfe", repeat=length), 224_000 // (length + 4)))
    members = (b"\xdc\x00\x12" + bytes(key) + b"\xc0" for key in keys)
    return HEAD + b"\xde" + len(keys).to_bytes(2) + b"".join(members)


def json_array(member: bytes, *last: bytes) -> bytes:
    room = MAX_BODY_BYTES - len(JSON_HEAD) - 2 - sum(len(item) + 1 for item in last)
    members = [member] * (room // (len(member) + 1))
    return JSON_HEAD + b"[" + b",".join([*members, *last]) + b"]}"


MSGPACK = {
    "colliding keys": colliding_keys(),
    "colliding keys, deep": HEAD + b"\x91" * 200 + colliding_keys(),
    "arrays": msgpack_array(b"\x90", 1),
    "arrays of one": msgpack_array(b"\x91\xc0", 2),
    "most arrays": HEAD + b"\xdd" + (65_000).to_bytes(4) + b"\x90" * 65_000,
    "nulls": msgpack_array(b"\xc0", 1),
    "texts": msgpack_array(b"\xa3abc", 4),
    "bytes": msgpack_array(b"\xc4\x00", 2),
    "extensions": msgpack_array(b"\xd4\x05\x01", 3),
    "times": msgpack_array(b"\xd6\xff\x00\x00\x00\x00", 6),
    "floats": msgpack_array(b"\xcb\x3e\x11\x2e\x0b\xe8\x26\xd6\x95", 9),
    "names": msgpack_map(b"\xa1a\xcd\x00\x00"),
    "empty names": msgpack_map(b"\xa0\xc0"),
    "nesting": HEAD + b"\x91" * 262_000,
    "nested maps": HEAD + b"\x81\xa0" * 130_000,
    "a claimed length": HEAD + b"\xdd\xff\xff\xff\xff",
    "a claimed text": HEAD + b"\xdb\xff\xff\xff\xff" + b"x" * 200_000,
}
JSON = {
    "long integers": json_array(b"9" * 4_000),
    "longer integers": json_array(b"9" * 4_299, b"NaN"),
    "one integer": JSON_HEAD + b"9" * 260_000 + b"}",
    "one float": JSON_HEAD + b"9" * 130_000 + b"." + b"9" * 130_000 + b"}",
    "one exponent": JSON_HEAD + b"0." + b"0" * 130_000 + b"1" * 130_000 + b"e130000}",
    "long floats": json_array(b"1." + b"9" * 700),
    "small floats": json_array(b"1e-9", b"NaN"),
    "one name": b"{" + b",".join([b'"a":1'] * 43_000) + b"}",
    "one name, NaN": b"{" + b",".join([b'"a":1'] * 43_000) + b',"b":NaN}',
    "nesting": JSON_HEAD + b"[" * 260_000,
    "arrays": json_array(b"[]"),
    "arrays, NaN": json_array(b"[]", b"NaN"),
    "maps": json_array(b"{}", b"NaN"),
    "integers": json_array(b"0"),
    "escapes": JSON_HEAD + b'"' + rb"\u0000" * 43_000 + b'"}',
}
BODIES = [
    *(pytest.param(body, Encoding.MSGPACK, id=f"msgpack {name}") for name, body in MSGPACK.items()),
    *(pytest.param(body, Encoding.JSON, id=f"json {name}") for name, body in JSON.items()),
]


def processor_ms(work: Callable[[], object]) -> float:
    """Return the thread's least CPU time of three: other processes do not count."""
    times = []
    gc.collect()
    gc.disable()  # a collection of the test process's objects is not the body's work
    try:
        for _ in range(3):
            began = time.thread_time()
            work()
            times.append(time.thread_time() - began)
    finally:
        gc.enable()
    return min(times) * 1000


@pytest.mark.parametrize(("body", "encoding"), BODIES)
def test_no_body_holds_the_loop(body: bytes, encoding: Encoding) -> None:
    assert len(body) <= MAX_BODY_BYTES
    read: list[dict[str, Any]] = []

    def work() -> None:
        read.clear()
        with suppress(MalformedBody):
            read.append(decode_map(body, encoding))

    assert processor_ms(work) < HELD_MS * slowness()
    for fields in read:
        assert processor_ms(partial(payload.check, fields.get("payload"))) < HELD_MS * slowness()


def test_a_body_of_too_many_values_is_refused() -> None:
    def body(values: int) -> bytes:
        return HEAD + b"\xdd" + (values - 3).to_bytes(4) + b"\xc0" * (values - 3)

    most = decode_map(body(messagepack.MAX_VALUES), Encoding.MSGPACK)["payload"]
    assert len(most) == messagepack.MAX_VALUES - 3
    with pytest.raises(MalformedBody, match="more than 65536 values"):
        decode_map(body(messagepack.MAX_VALUES + 1), Encoding.MSGPACK)


def test_json_of_too_many_values_is_refused_whatever_its_texts_hold() -> None:
    for text in (b"[" * 70_000, rb"\\[\"" * 70_000, b""):
        body = JSON_HEAD + b'["' + text + b'"]}'
        assert decode_map(body, Encoding.JSON).keys() == {"payload"}
    for unread in (b'"[,' * 70_000, JSON_HEAD + b'"' + b"[" * 70_000, JSON_HEAD + b'"\\' * 80_000):
        with pytest.raises(MalformedBody):
            decode_map(unread, Encoding.JSON)
    with pytest.raises(MalformedBody, match="more than 65536 values"):
        decode_map(json_array(b"0"), Encoding.JSON)


PLAIN = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text()
VALUES = st.recursive(
    PLAIN | st.binary() | st.just(msgspec.msgpack.Ext(5, b"x" * 300)),
    lambda inner: (
        st.lists(inner, max_size=20)
        | st.dictionaries(st.text() | st.integers() | st.binary(), inner, max_size=20)
    ),
    max_leaves=40,
)


def has_other_keys(value: object) -> bool:
    if isinstance(value, dict):
        keys = any(type(key) is not str for key in value)
        return keys or any(map(has_other_keys, value.values()))
    return isinstance(value, list) and any(map(has_other_keys, value))


@given(value=st.dictionaries(st.text(), VALUES, max_size=5), filler=st.sampled_from((0, 66_000)))
def test_documents_are_judged_by_the_keys_of_their_maps(value: dict[str, Any], filler: int) -> None:
    document = {"long": "x" * filler, **value}
    try:
        body = msgspec.msgpack.encode(document)
    except OverflowError:  # an integer beyond 64 bits
        return
    if has_other_keys(document):
        with pytest.raises(messagepack.KeyNotText):
            messagepack.decode(body)
    else:
        assert msgspec.msgpack.encode(messagepack.decode(body)) == body

"""Bodies: which encoding, and that whatever is unreadable is refused in one way."""

import math
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.encoding import (
    Encoding,
    MalformedBody,
    UnknownContentType,
    decode,
    decode_map,
    encode,
    negotiate,
)
from contracts.schedules import CreateInput, UpdateInput

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("content_type", "encoding"),
    [
        (None, Encoding.MSGPACK),
        ("application/msgpack", Encoding.MSGPACK),
        ("APPLICATION/MsgPack", Encoding.MSGPACK),
        ("application/json", Encoding.JSON),
        ("Application/JSON; charset=utf-8", Encoding.JSON),
        ("  application/json ;x", Encoding.JSON),
    ],
)
def test_the_content_type_chooses_the_encoding(
    content_type: str | None, encoding: Encoding
) -> None:
    assert negotiate(content_type) is encoding


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/cbor", "json", ";", "é"])
def test_any_other_content_type_is_unknown(content_type: str) -> None:
    with pytest.raises(UnknownContentType):
        negotiate(content_type)


@pytest.mark.parametrize("encoding", Encoding)
def test_an_empty_body_is_an_empty_map(encoding: Encoding) -> None:
    assert decode_map(b"", encoding) == {}
    with pytest.raises(MalformedBody, match="missing required field `endpoint`"):
        decode(b"", CreateInput, encoding)


@pytest.mark.parametrize("encoding", Encoding)
def test_absent_and_null_fields_of_an_update_differ(encoding: Encoding) -> None:
    body = encode(UpdateInput(schedule_id="s", name=None), encoding)
    assert decode_map(body, encoding) == {"scheduleId": "s", "name": None}
    assert decode(body, UpdateInput, encoding) == UpdateInput(schedule_id="s", name=None)


@pytest.mark.parametrize("encoding", Encoding)
def test_unknown_fields_are_ignored_by_types_and_kept_in_maps(encoding: Encoding) -> None:
    body = encode({"scheduleId": "s", "later": [1]}, encoding)
    assert decode(body, UpdateInput, encoding) == UpdateInput(schedule_id="s")
    assert decode_map(body, encoding)["later"] == [1]


@given(
    value=st.dictionaries(st.text(), JSON_VALUES, max_size=5), encoding=st.sampled_from(Encoding)
)
def test_a_value_decodes_equal_to_what_was_encoded(
    value: dict[str, Any], encoding: Encoding
) -> None:
    back = decode_map(encode(value, encoding), encoding)
    assert back == value
    assert repr(back) == repr(value)


def test_a_large_float_stays_a_float_in_both_encodings() -> None:
    for encoding in Encoding:
        back = decode_map(encode({"payload": [1e21, 5.0]}, encoding), encoding)["payload"]
        assert [type(number) for number in back] == [float, float]


@pytest.mark.parametrize(
    "body",
    [
        b"\xc1",
        b"\x81",
        b"\x80\x00",
        b"\x81\xa1a\x01\x00",
        b"\xdf\xff\xff\xff\xff",
        b"\xdd\x7f\xff\xff\xff",
        b"\x81\xa1\xff\x01",
        b"\x81\xa1a\xd7\xff" + b"\xff" * 8,
        b"\x81\xa1a" + b"\x91" * 60_000 + b"\x01",
        b"\x81\xa1a" * 30_000,
    ],
)
def test_unreadable_messagepack_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedBody, match="not valid MessagePack"):
        decode_map(body, Encoding.MSGPACK)
    with pytest.raises(MalformedBody):
        decode(body, CreateInput, Encoding.MSGPACK)


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"{}{}",
        b"{'a':1}",
        b'{"a":}',
        b"\xef\xbb\xbf{}",
        b'{"a":"\xff"}',
        b'{"a":"\n"}',
        b'{"a":' + b"[" * 60_000,
        b'{"a":' * 30_000,
    ],
)
def test_unreadable_json_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedBody, match="not valid JSON"):
        decode_map(body, Encoding.JSON)
    with pytest.raises(MalformedBody):
        decode(body, CreateInput, Encoding.JSON)


@pytest.mark.parametrize("value", [None, 1, True, "x", [], [{}], 1.5])
@pytest.mark.parametrize("encoding", Encoding)
def test_a_body_that_is_no_map_is_malformed(value: object, encoding: Encoding) -> None:
    with pytest.raises(MalformedBody, match="must be a map"):
        decode_map(encode(value, encoding), encoding)


@pytest.mark.parametrize("key", [1, None, b"a", (1,), 1.5, datetime(2026, 1, 1, tzinfo=UTC)])
@pytest.mark.parametrize("depth", [0, 1, 4, 5, 6, 60])
@pytest.mark.parametrize("filler", [0, 70_000])
def test_map_keys_that_are_no_strings_are_malformed(key: object, depth: int, filler: int) -> None:
    value: Any = {key: 1}
    for _ in range(depth):
        value = {"a": [value], "b": "x" * filler}
    with pytest.raises(MalformedBody, match="must be strings"):
        decode_map(msgspec.msgpack.encode(value), Encoding.MSGPACK)


def test_values_beyond_json_reach_the_rules_of_their_field() -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    value = {
        "a": b"raw",
        "b": msgspec.msgpack.Ext(5, b"x"),
        "c": moment,
        "d": math.inf,
    }
    back = decode_map(msgspec.msgpack.encode(value), Encoding.MSGPACK)
    assert (back["a"], back["c"], back["d"]) == (b"raw", moment, math.inf)
    assert isinstance(back["b"], msgspec.msgpack.Ext)


def test_json_that_python_writes_carelessly_reaches_the_rules_of_its_field() -> None:
    back = decode_map(b'{"payload": [NaN, "\\ud800"], "cron": "x"}', Encoding.JSON)
    assert math.isnan(back["payload"][0])
    assert back["payload"][1] == "\ud800"
    back = decode_map(b'{"payload": [2, 1%s], "cron": "x"}' % (b"0" * 5_000), Encoding.JSON)
    assert back == {"payload": [2, math.inf], "cron": "x"}


def test_the_wrong_type_of_a_field_names_the_field() -> None:
    for encoding in Encoding:
        with pytest.raises(MalformedBody, match=r"`\$\.cron`"):
            decode(encode({"endpoint": "/a", "cron": 1}, encoding), CreateInput, encoding)


def test_an_integer_beyond_64_bits_cannot_be_written_as_messagepack() -> None:
    for value in ({"a": 2**64}, [-(2**63) - 1]):
        with pytest.raises(MalformedBody, match="cannot be encoded"):
            encode(value, Encoding.MSGPACK)


@pytest.mark.parametrize("value", ["\ud800", object(), {"a": {1, object()}}])
def test_a_value_that_cannot_be_encoded_is_malformed(value: object) -> None:
    for encoding in Encoding:
        with pytest.raises(MalformedBody, match="cannot be encoded"):
            encode(value, encoding)


@given(body=st.binary(), encoding=st.sampled_from(Encoding))
def test_random_bytes_are_a_map_or_malformed(body: bytes, encoding: Encoding) -> None:
    with suppress(MalformedBody):
        assert isinstance(decode_map(body, encoding), dict)

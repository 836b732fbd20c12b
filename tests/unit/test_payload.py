"""Payloads: what is refused, and that what is accepted comes back equal."""

import json
import math
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.rules.columns import Container
from service.rules.payload import check, from_json, to_json

NOT_A_CONTAINER = "Payload must be a JSON object or array"
TOO_LARGE = "Payload too large"
NOT_SERIALIZABLE = "Payload must be JSON-serializable"


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


def through_jsonb(text: str) -> str:
    """Return what PostgreSQL makes of it: numbers as decimals, written out without exponents."""

    def write(value: Any) -> str:
        match value:
            case dict():
                members = (f"{json.dumps(k)}: {write(v)}" for k, v in sorted(value.items()))
                return "{" + ", ".join(members) + "}"
            case list():
                return "[" + ", ".join(map(write, value)) + "]"
            case Decimal():
                return f"{value:f}"
        return json.dumps(value, ensure_ascii=False)

    return write(json.loads(text, parse_int=Decimal, parse_float=Decimal))


def same(left: object, right: object) -> bool:
    """Return whether both are equal, types included: 1 is neither 1.0 nor True."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    return type(left) is type(right) and left == right


@pytest.mark.parametrize(
    "value",
    [
        None,
        {},
        [],
        [None, True, False, "", "é\u2028\U0001f600", {"": [{}]}],
        [0, -(2**63), 2**63 - 1, 2**64 - 1],
        [1.0, -0.0, 1e21, 1e-7, 5e-324, 1.7976931348623157e308],
        nested(64),
        "".join(["a"] * 10).split("b"),
    ],
)
def test_json_objects_and_arrays_are_accepted_as_payloads(value: object) -> None:
    assert check(value) is None


@pytest.mark.parametrize("value", ["{}", "", 0, 1.5, True, False, b"{}", math.nan])
def test_only_objects_and_arrays_are_payloads(value: object) -> None:
    assert check(value) == NOT_A_CONTAINER


@pytest.mark.parametrize(
    "value",
    [
        [math.nan],
        [math.inf],
        {"a": [-math.inf]},
        [2**64],
        [-(2**63) - 1],
        [b"bytes"],
        [msgspec.msgpack.Ext(5, b"x")],
        [datetime(2026, 1, 1, tzinfo=UTC)],
        {1: "a"},
        {None: "a"},
        {b"a": 1},
        {"a": {2.5: 1}},
        ["a\0b"],
        {"a\0b": 1},
        ["\ud800"],
        {"\udfff": 1},
        nested(65),
        {"a": {"b": nested(63)}},
    ],
)
def test_values_that_json_or_the_database_cannot_store_are_refused(value: object) -> None:
    assert check(value) == NOT_SERIALIZABLE


def test_nesting_without_end_is_refused_rather_than_followed() -> None:
    assert check(nested(100_000)) == NOT_SERIALIZABLE


def test_the_depth_is_a_parameter_and_the_root_is_one() -> None:
    assert check([], max_depth=1) is None
    assert check([1, "a"], max_depth=1) is None
    assert check([[]], max_depth=1) == NOT_SERIALIZABLE


def test_size_is_counted_in_code_points_of_compact_json() -> None:
    assert check(["a" * (100_000 - 4)]) is None
    assert check(["a" * (100_000 - 3)]) == TOO_LARGE
    assert check(["\U0001f600" * (100_000 - 4)]) is None
    assert check(["\U0001f600" * (100_000 - 3)]) == TOO_LARGE
    assert check(['"' * 49_998]) is None
    assert check(['"' * 49_999]) == TOO_LARGE
    assert check({"é": [1, 2]}, max_length=11) is None
    assert check({"é": [1, 2]}, max_length=10) == TOO_LARGE


def test_floats_that_would_fill_the_database_are_too_large() -> None:
    for extreme in (1e300, 1e-300, -5e-324):
        assert check([extreme] * 1_000) is None
        assert check([extreme] * 10_000) == TOO_LARGE


def test_what_is_stored_may_be_four_times_as_long_as_what_may_be_sent() -> None:
    assert len(to_json([1e31])) == 4 * 9
    assert check([1e31], max_length=9) is None
    assert check([1e32], max_length=9) == TOO_LARGE


@given(
    shape=st.recursive(
        st.just(0), lambda inner: st.lists(inner, min_size=1, max_size=6), max_leaves=40
    ).filter(lambda shape: shape != 0),
    refused=st.booleans(),
)
def test_members_that_cannot_fit_are_refused_before_any_is_looked_at(
    shape: list[Any], refused: bool
) -> None:
    """In the densest text, a digit for each member, there is no room for one more."""
    written = msgspec.json.encode(shape).decode()
    fits = len(written)
    value = json.loads(written, parse_int=lambda _: b"" if refused else 0)
    assert check(value, max_length=fits) == (NOT_SERIALIZABLE if refused else None)
    assert check(value, max_length=fits - 1) == TOO_LARGE


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([1e21], "[1000000000000000000000.0]"),
        ([-1.5e16], "[-15000000000000000.0]"),
        ([1e16], "[10000000000000000.0]"),
        ([9999999999999998.0], "[9999999999999998.0]"),
        ([1.5e-7, -1e-3, 0.0], "[0.00000015,-0.001,0.0]"),
        ([1e-5, 9.9e-6], "[0.00001,0.0000099]"),
        ([1, 1.0, True, None], "[1,1.0,true,null]"),
        ({"ä": "\u2028"}, '{"ä":"\u2028"}'),
    ],
)
def test_floats_are_stored_as_long_as_the_database_writes_them(value: Container, text: str) -> None:
    assert to_json(value) == text


def test_no_payload_is_read_as_none() -> None:
    assert from_json(None) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1}', {"a": 1}),
        ('"{\\"a\\": [1.0]}"', {"a": [1.0]}),
        ('"plain words"', None),
        ('"12"', None),
        ('"{broken"', None),
        ('"\\"[1]\\""', None),
        ("17", None),
        ("1" + "0" * 30, None),
        ("null", None),
        ("", None),
        ("{broken", None),
        ("[18446744073709551615]", [2**64 - 1]),
        ("[18446744073709551616]", [1.8446744073709552e19]),
        ("[-9223372036854775808]", [-(2**63)]),
        ("[-9223372036854775809]", [-9.223372036854775808e18]),
        ("[1" + "0" * 400 + "]", [1.7976931348623157e308]),
        ("[-1" + "0" * 5_000 + "]", [-1.7976931348623157e308]),
        ("[1e400]", [1.7976931348623157e308]),
        ("[0." + "0" * 400 + "1]", [0.0]),
        ('["\\ud800", 1e300]', None),
        ("[" * 50_000 + "]" * 50_000, None),
        ("[" * 400 + "]" * 400, None),
        ("[" * 257 + "]" * 257, None),
    ],
)
def test_payloads_of_other_writers_are_read_without_a_crash(text: str, value: object) -> None:
    read = from_json(text)
    assert same(read, value)
    assert same(msgspec.msgpack.decode(msgspec.msgpack.encode(read)), value)


def test_a_stored_payload_nested_deeper_than_allowed_is_still_read() -> None:
    assert from_json("[" * 200 + "]" * 200) == nested(200)
    assert from_json("[" * 256 + "]" * 256) == nested(256)
    assert from_json(" " * 512 + "[" * 256 + "]" * 256) == nested(256)


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([1e15, 1e16, 1e17, 2.0**53, 2.0**63, 2.0**64, 1e22, 123456789012345678.0])
    | texts
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4)
)
payloads = st.lists(values, max_size=5) | st.dictionaries(texts, values, max_size=5)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(payloads)
def test_accepted_payloads_round_trip_in_both_encodings(payload: object) -> None:
    by_json = msgspec.json.decode(msgspec.json.encode(payload))
    by_msgpack = msgspec.msgpack.decode(msgspec.msgpack.encode(payload))
    for arrived in (by_json, by_msgpack):
        assert check(arrived) is None
        stored = from_json(through_jsonb(to_json(arrived)))
        assert same(stored, payload)
        assert same(msgspec.json.decode(msgspec.json.encode(stored)), payload)
        assert same(msgspec.msgpack.decode(msgspec.msgpack.encode(stored)), payload)


anything = st.recursive(
    scalars
    | st.binary(max_size=4)
    | st.floats()
    | st.text(max_size=4)
    | st.integers()
    | st.datetimes(timezones=st.just(UTC)),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=3) | st.integers() | st.none(), inner, max_size=4)
    ),
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(anything)
def test_any_value_is_either_refused_or_stored_and_read_back(value: object) -> None:
    refused = check(value)
    if refused is None and isinstance(value, dict | list):
        assert same(from_json(through_jsonb(to_json(value))), value)
    else:
        assert refused in {None, NOT_A_CONTAINER, NOT_SERIALIZABLE}

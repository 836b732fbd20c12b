"""MessagePack and JSON by content type; every malformed body raises ``MalformedBody``."""

import json
import math
import re
from enum import Enum
from typing import Any, TypeVar

import msgspec

from contracts import messagepack
from contracts.messagepack import MAX_VALUES

MAX_BODY_BYTES = 262_144

T = TypeVar("T")


class Encoding(Enum):
    """The two encodings; the value is the content type."""

    MSGPACK = "application/msgpack"
    JSON = "application/json"


class UnknownContentType(ValueError):
    """Neither of the two content types; the refusal itself is written in JSON."""


class MalformedBody(ValueError):
    """A body that cannot be read; the message is safe to show to the caller."""


_MSGPACK_ENCODER = msgspec.msgpack.Encoder()
_JSON_ENCODER = msgspec.json.Encoder()
_EMPTY_MSGPACK, _EMPTY_JSON = b"\x80", b"{}"
_MAX_INTEGER_DIGITS = 4_000
_JSON_MARKS = (b",", b":", b"[", b"{")
"""One of these precedes every value of a document except the first."""
_JSON_TEXT = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_JSON_DECODER = msgspec.json.Decoder()
# Deep nesting and bad UTF-8 do not come as msgspec's own errors.
_UNREADABLE = (msgspec.MsgspecError, RecursionError, ValueError)


def negotiate(content_type: str | None) -> Encoding:
    """Choose the encoding of a request and its reply; no header means MessagePack.

    Case and parameters are ignored.

    Raises:
        UnknownContentType: any other type.
    """
    if content_type is None or content_type == Encoding.MSGPACK.value:
        return Encoding.MSGPACK
    essence = content_type.partition(";")[0].strip().lower()
    try:
        return Encoding(essence)
    except ValueError:
        raise UnknownContentType("Unknown content type") from None


def encode(value: object, encoding: Encoding) -> bytes:
    """Encode a Struct, or plain maps and lists of JSON values.

    Raises:
        MalformedBody: a value that the encoding cannot hold.
    """
    encoder = _MSGPACK_ENCODER if encoding is Encoding.MSGPACK else _JSON_ENCODER
    try:
        return encoder.encode(value)
    except (TypeError, OverflowError, *_UNREADABLE) as error:
        raise MalformedBody("Value cannot be encoded") from error


def decode(body: bytes, type: type[T], encoding: Encoding) -> T:  # noqa: A002 - the word of msgspec
    """Decode into a Struct type; an empty body stands for an empty map.

    Raises:
        MalformedBody: not readable, or not of this shape.
    """
    try:
        if encoding is Encoding.MSGPACK:
            return msgspec.msgpack.decode(body or _EMPTY_MSGPACK, type=type)
        return msgspec.json.decode(body or _EMPTY_JSON, type=type)
    except msgspec.ValidationError as error:
        raise MalformedBody(f"Unexpected shape: {error}") from None
    except _UNREADABLE:
        raise MalformedBody(_undecodable(encoding)) from None


def decode_map(body: bytes, encoding: Encoding) -> dict[str, Any]:
    """Decode into a map of raw values, so that each field can be validated on its own.

    Values may be anything that the encodings carry, MessagePack's bytes, ``Ext``, datetimes and
    NaN included: the rules refuse those field by field.

    Raises:
        MalformedBody: not readable, not a map, or a map in it has keys that are not strings.
    """
    if not body:
        return {}
    try:
        value = messagepack.decode(body) if encoding is Encoding.MSGPACK else _read_json(body)
    except messagepack.KeyNotText:
        raise MalformedBody("Map keys must be strings") from None
    except messagepack.TooManyValues:
        raise MalformedBody(f"Body has more than {MAX_VALUES} values") from None
    except _UNREADABLE:
        raise MalformedBody(_undecodable(encoding)) from None
    if not isinstance(value, dict):
        raise MalformedBody("Body must be a map")
    return value


def _read_json(body: bytes) -> object:
    if len(body) > MAX_VALUES and _has_too_many_values(body):
        raise messagepack.TooManyValues
    try:
        return _JSON_DECODER.decode(body)
    except msgspec.DecodeError:
        # NaN and lone surrogates, which Python writes readily, are a field's fault and not the
        # body's: the standard library reads them, and the rules then name the field.
        return json.loads(body.decode(), parse_int=_integer)


def _has_too_many_values(body: bytes) -> bool:
    # Most bodies have too few of these characters, even counting those inside strings.
    if sum(map(body.count, _JSON_MARKS)) < MAX_VALUES:
        return False
    return sum(map(_JSON_TEXT.sub(b"", body).count, _JSON_MARKS)) >= MAX_VALUES


def _integer(digits: str) -> int | float:
    # No field takes such a number, but int() would have the whole body refused for its length.
    return int(digits) if len(digits) <= _MAX_INTEGER_DIGITS else math.inf


def _undecodable(encoding: Encoding) -> str:
    return f"Body is not valid {'MessagePack' if encoding is Encoding.MSGPACK else 'JSON'}"

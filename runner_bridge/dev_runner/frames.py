"""What the development Runner and its guest processes say to each other, over a socket pair.

Every frame is a 4-byte big-endian length and a MessagePack map with a type tag. The guest process
holds code that nobody vouches for, so the Runner's side trusts nothing that comes out of it.
"""

from enum import StrEnum
from typing import Any

import msgspec
from msgspec import Struct

MAX_FRAME_BYTES = 8 * 1024 * 1024
LENGTH_BYTES = 4

Value = Any
"""A value of the component model in plain Python, as ``values.py`` says."""


class FailureKind(StrEnum):
    """Why there is no answer from a guest; the first word of the ``error`` that is reported."""

    TIMEOUT = "guest_timeout"
    TRAP = "guest_trap"
    HOST_CALL = "host_call_failed"
    RESPONSE = "guest_response"
    REJECTED = "component_rejected"
    CRASHED = "guest_crashed"


class Run(Struct, frozen=True, tag=True):
    """Run a precompiled component on ``request``, an ``execute-request``, in a fresh store."""

    component: str
    request: dict[str, Value]
    budget_ms: int
    memory_bytes: int
    response_bytes: int


class HostCall(Struct, frozen=True, tag=True):
    """The guest called a function that the host offers; it waits for a ``HostAnswer``."""

    interface: str
    function: str
    arguments: list[Value]


class HostAnswer(Struct, frozen=True, tag=True):
    """The function's result, in plain values; a ``refusal`` traps the guest instead."""

    value: Value = None
    refusal: str | None = None


class GuestAnswer(Struct, frozen=True, tag=True):
    """What the handler gave back."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes | None


class Failure(Struct, frozen=True, tag=True):
    """Why the handler gave nothing back."""

    kind: FailureKind
    message: str


ToGuest = Run | HostAnswer
FromGuest = HostCall | GuestAnswer | Failure

to_guest = msgspec.msgpack.Decoder(ToGuest)
from_guest = msgspec.msgpack.Decoder(FromGuest)
_encoder = msgspec.msgpack.Encoder()


class FrameTooLarge(ValueError):
    """A frame beyond the limit; nothing honest is that long."""


def pack(message: ToGuest | FromGuest) -> bytes:
    """Encode one frame with its length.

    Raises:
        FrameTooLarge: the message would not be accepted on the other side.
    """
    body = _encoder.encode(message)
    return body_length(len(body)).to_bytes(LENGTH_BYTES) + body


def body_length(length: int) -> int:
    """Give back an acceptable length.

    Raises:
        FrameTooLarge: zero, or more than ``MAX_FRAME_BYTES``.
    """
    if not 0 < length <= MAX_FRAME_BYTES:
        raise FrameTooLarge(f"frame of {length} bytes")
    return length

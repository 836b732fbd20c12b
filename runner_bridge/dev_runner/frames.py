"""The protocol between the development Runner and its guest processes, over a socket pair.

Every frame is a 4-byte big-endian length and a MessagePack map with a type tag. The guest process
runs untrusted code, so the Runner validates everything that it sends.
"""

from enum import StrEnum
from typing import Any

import msgspec
from msgspec import Struct

MAX_FRAME_BYTES = 8 * 1024 * 1024
LENGTH_BYTES = 4

Value = Any
"""A value of the component model in plain Python, see ``values.py``."""


class FailureKind(StrEnum):
    """Why there is no answer from a guest; the first word of the ``error`` that is reported."""

    TIMEOUT = "guest_timeout"
    TRAP = "guest_trap"
    HOST_CALL = "host_call_failed"
    RESPONSE = "guest_response"
    REJECTED = "component_rejected"
    CRASHED = "guest_crashed"


class RunGuest(Struct, frozen=True, tag=True):
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
    """The handler's response."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes | None


class Failure(Struct, frozen=True, tag=True):
    """Why there is no response of the handler."""

    kind: FailureKind
    message: str


ToGuest = RunGuest | HostAnswer
FromGuest = HostCall | GuestAnswer | Failure

to_guest = msgspec.msgpack.Decoder(ToGuest)
from_guest = msgspec.msgpack.Decoder(FromGuest)
_encoder = msgspec.msgpack.Encoder()


class FrameTooLarge(ValueError):
    """A frame beyond ``MAX_FRAME_BYTES``."""


def pack(message: ToGuest | FromGuest) -> bytes:
    """Encode one frame with its length.

    Raises:
        FrameTooLarge: the message would not be accepted on the other side.
    """
    body = _encoder.encode(message)
    return body_length(len(body)).to_bytes(LENGTH_BYTES) + body


def body_length(length: int) -> int:
    """Return the length of a frame's body if it is acceptable.

    Raises:
        FrameTooLarge: zero, or more than ``MAX_FRAME_BYTES``.
    """
    if not 0 < length <= MAX_FRAME_BYTES:
        raise FrameTooLarge(f"frame of {length} bytes")
    return length

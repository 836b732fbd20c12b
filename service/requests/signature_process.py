"""The process that checks Ed25519 signatures for a responder, and does nothing else.

It has no keys, settings or connections. It reads batches from its standard input and writes the
verdicts to its standard output; it ends with its input, which is when its parent is gone. Signals
that go to a whole group it leaves to its parent.
"""

import signal
import sys
from typing import BinaryIO, TypeVar

import msgspec
from msgspec import Struct

from contracts.ed25519 import is_signed

LENGTH_BYTES = 4

T = TypeVar("T")


class SignatureBatch(Struct, frozen=True, array_like=True):
    """Signatures to check, each as (public key, message, signature)."""

    number: int
    signed: list[tuple[bytes, bytes, bytes]]


class SignatureVerdicts(Struct, frozen=True, array_like=True):
    """Which signatures of the batch of this number are right, in order."""

    number: int
    right: list[bool]


def frame(message: SignatureBatch | SignatureVerdicts) -> bytes:
    """Return a message as it goes through a pipe: its length, then MessagePack."""
    body = msgspec.msgpack.encode(message)
    return len(body).to_bytes(LENGTH_BYTES) + body


def check_all(source: BinaryIO, target: BinaryIO) -> None:
    """Answer every batch, until the end of the source."""
    decode = msgspec.msgpack.Decoder(SignatureBatch).decode
    while head := source.read(LENGTH_BYTES):
        batch = decode(source.read(int.from_bytes(head)))
        target.write(frame(SignatureVerdicts(batch.number, [is_signed(*s) for s in batch.signed])))
        target.flush()


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    check_all(sys.stdin.buffer, sys.stdout.buffer)

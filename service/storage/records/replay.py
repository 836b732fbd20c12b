"""The stored outcome of a request, from which the same request is answered again."""

from msgspec import Struct


class Replay(Struct, frozen=True):
    """The stored outcome of an earlier request with the same jti; ``result`` is MessagePack."""

    op: str
    body_sha256: str
    result: bytes

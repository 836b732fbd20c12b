"""The ids of an attempt's call, which its worker and later readers compute alike.

They are not stored: a run is written often enough as it is.
"""

from hashlib import blake2b
from uuid import UUID

_BITS = (1 << 128) - 1 - (0xF << 76) - (0b11 << 62)
_VERSION_8 = (8 << 76) | (0b10 << 62)


def request_id(run_id: UUID, fence: int) -> str:
    """Return the request id of the call of a claim: no two claims of a run have the same fence."""
    digest = blake2b(run_id.bytes + fence.to_bytes(8, "big", signed=True), digest_size=16).digest()
    text = f"{int.from_bytes(digest, 'big') & _BITS | _VERSION_8:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def trace_id(run_id: UUID) -> int:
    """Return the id of the trace that all attempts of a run are in; never 0."""
    return int.from_bytes(blake2b(run_id.bytes, digest_size=16, person=b"trace").digest(), "big")

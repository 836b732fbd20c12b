"""What a responder reports about itself when it is pinged (NATS services protocol, ADR-32)."""

from collections.abc import Mapping

import msgspec
from msgspec import Struct

PING_SUBJECT = "$SRV.PING.ext-scheduler"
DATABASE, RUNNING, WAITING, CONCURRENCY = "database", "running", "waiting", "concurrency"
"""Members of a ping's metadata, all texts. ``database`` is ``ok``, or ``silent`` where the
responder lost it; the others are numbers of requests."""


class _Ping(Struct, frozen=True):
    id: str
    version: str
    metadata: Mapping[str, str] = {}


class ResponderState(Struct, frozen=True, rename="camel", kw_only=True):
    """A responder: whether it has its database, the requests that run and that wait, and the most
    that run at once; 0 from a release that does not say.
    """

    id: str
    version: str
    has_database: bool
    running: int
    waiting: int
    concurrency: int


def read_ping(body: bytes) -> ResponderState | None:
    """Return the state in the reply to a ping, None if it is not such a reply."""
    try:
        ping = msgspec.json.decode(body, type=_Ping)
    except msgspec.MsgspecError:
        return None
    return ResponderState(
        id=ping.id,
        version=ping.version,
        has_database=ping.metadata.get(DATABASE, "ok") == "ok",
        running=_number(ping.metadata.get(RUNNING)),
        waiting=_number(ping.metadata.get(WAITING)),
        concurrency=_number(ping.metadata.get(CONCURRENCY)),
    )


def _number(text: str | None) -> int:
    return int(text) if text is not None and text.isdecimal() and len(text) < 10 else 0

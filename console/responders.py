"""The responders that answer on the bus: discovered by pings, every few seconds."""

import time
from collections.abc import Callable

import msgspec
from msgspec import Struct

DISCOVERY_SUBJECT = "$SRV.PING.ext-scheduler"
DISCOVERY_INTERVAL_S = 5.0
SILENT_AFTER_S = 3 * DISCOVERY_INTERVAL_S


class _Ping(Struct, frozen=True):
    id: str
    version: str
    metadata: dict[str, str] = {}


class ResponderInfo(Struct, frozen=True, kw_only=True):
    """A responder that answered lately; ``seen_at`` in Unix seconds."""

    id: str
    version: str
    has_database: bool
    seen_at: float


class Responders:
    """Those that answered lately."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._seen: dict[str, ResponderInfo] = {}

    def receive(self, body: bytes) -> None:
        """Take the answer to a ping; what is none is ignored."""
        try:
            ping = msgspec.json.decode(body, type=_Ping)
        except msgspec.MsgspecError:
            return
        self._seen[ping.id] = ResponderInfo(
            id=ping.id,
            version=ping.version,
            has_database=ping.metadata.get("database", "ok") == "ok",
            seen_at=self._clock(),
        )

    def current(self) -> list[ResponderInfo]:
        """Return those that answered lately, by id."""
        earliest = self._clock() - SILENT_AFTER_S
        self._seen = {id_: seen for id_, seen in self._seen.items() if seen.seen_at > earliest}
        return [self._seen[id_] for id_ in sorted(self._seen)]

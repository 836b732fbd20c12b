"""The responders that answer on the bus: discovered by pings, every few seconds."""

import time
from collections.abc import Callable

from msgspec import Struct

from contracts.discovery import ResponderState, read_ping

DISCOVERY_INTERVAL_S = 5.0
SILENT_AFTER_S = 3 * DISCOVERY_INTERVAL_S


class ResponderInfo(Struct, frozen=True):
    """What a responder said of itself, and when (Unix seconds)."""

    state: ResponderState
    seen_at: float


class Responders:
    """Those that answered lately."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._seen: dict[str, ResponderInfo] = {}

    def receive(self, body: bytes) -> None:
        """Take the reply to a ping; anything else is ignored."""
        state = read_ping(body)
        if state is not None:
            self._seen[state.id] = ResponderInfo(state, self._clock())

    def current(self) -> list[ResponderInfo]:
        """Return those that answered lately, by id."""
        earliest = self._clock() - SILENT_AFTER_S
        self._seen = {id_: seen for id_, seen in self._seen.items() if seen.seen_at > earliest}
        return [self._seen[id_] for id_ in sorted(self._seen)]

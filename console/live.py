"""What happens on the bus: the last events, and the pages that wait for the next.

One subscription per process, however many pages are open.
"""

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from logging import getLogger

import msgspec
from msgspec import Struct

from console.people import Person
from contracts.events import Event

log = getLogger(__name__)

MAX_EVENTS = 500
MAX_WATCHERS = 1_000
TICK_S = 10.0
"""After how long without events pages are told to look again: time passes too."""
COALESCE_S = 1.0


class TooManyWatchersError(Exception):
    """The process keeps as many live pages as it can."""


class Watcher(Struct, eq=False):
    """A page that waits; ``changed`` is set when it should look again."""

    person: Person
    changed: asyncio.Event


class LiveFeed:
    """The last events, newest last, and the pages that wait."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque(maxlen=MAX_EVENTS)
        self._watchers: set[Watcher] = set()
        self.connected = True

    def receive(self, body: bytes) -> None:
        """Take an event from the bus; anything else is ignored."""
        try:
            event = msgspec.json.decode(body, type=Event)
        except msgspec.MsgspecError:
            log.warning("an event cannot be read: a newer release, or no event")
            return
        self._events.append(event)
        for watcher in self._watchers:
            if may_see(watcher.person, event):
                watcher.changed.set()

    def recent(self, person: Person) -> list[Event]:
        """Return the last events that a person may see, newest first."""
        return [event for event in reversed(self._events) if may_see(person, event)]

    def set_connected(self, connected: bool) -> None:
        """Note whether the bus is there; all pages look again when that changes."""
        if connected != self.connected:
            self.connected = connected
            for watcher in self._watchers:
                watcher.changed.set()

    @contextmanager
    def watching(self, person: Person) -> Iterator[Watcher]:
        """Register a page within the context. Raises TooManyWatchersError."""
        if len(self._watchers) >= MAX_WATCHERS:
            raise TooManyWatchersError
        watcher = Watcher(person, asyncio.Event())
        self._watchers.add(watcher)
        try:
            yield watcher
        finally:
            self._watchers.discard(watcher)


def may_see(person: Person, event: Event) -> bool:
    """Return whether an event is of a person's tenant."""
    return person.is_operator or event.tenant_id == person.tenant


async def next_change(watcher: Watcher) -> bool:
    """Wait until a page should look again: at most ``TICK_S``; whether something happened."""
    try:
        async with asyncio.timeout(TICK_S):
            await watcher.changed.wait()
    except TimeoutError:
        return False
    watcher.changed.clear()
    return True

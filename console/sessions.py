"""Sessions: a random cookie, known here by its hash, for eight hours or until revoked.

They are in the memory of the process: a restart signs everyone out, and of several processes each
knows its own.
"""

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable

from msgspec import Struct

from console.people import Person

SESSION_LIFETIME_S = 8 * 3600
MAX_SESSIONS = 10_000
"""The most sessions; beyond that the oldest ends."""


class ConsoleSession(Struct, frozen=True, kw_only=True):
    """A signed-in person; ``id`` is the hash of the cookie, ``began`` and ``ends`` Unix seconds."""

    id: str
    person: Person
    began: float
    ends: float


class Sessions:
    """All sessions of this process."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._sessions: dict[str, ConsoleSession] = {}

    def open(self, person: Person) -> str:
        """Begin a session; return its cookie."""
        cookie = secrets.token_urlsafe(32)
        now = self._clock()
        self._forget_ended(now)
        if len(self._sessions) >= MAX_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        id_ = _hash(cookie)
        self._sessions[id_] = ConsoleSession(
            id=id_, person=person, began=now, ends=now + SESSION_LIFETIME_S
        )
        return cookie

    def find(self, cookie: str | None) -> ConsoleSession | None:
        """Return the session of a cookie, None where it is unknown, over or revoked."""
        session = self._sessions.get(_hash(cookie)) if cookie else None
        return session if session is not None and self.is_open(session.id) else None

    def is_open(self, session_id: str) -> bool:
        """Return whether a session still lasts."""
        session = self._sessions.get(session_id)
        return session is not None and self._clock() < session.ends

    def of(self, person: Person) -> list[ConsoleSession]:
        """Return the open sessions that a person may end: their own; for operators, all."""
        now = self._clock()
        self._forget_ended(now)
        everyone = person.is_operator and person.may_write
        return [
            session
            for session in self._sessions.values()
            if everyone
            or (session.person.name, session.person.tenant) == (person.name, person.tenant)
        ]

    def revoke(self, session_id: str) -> None:
        """End a session at once."""
        self._sessions.pop(session_id, None)

    def _forget_ended(self, now: float) -> None:
        for session in [each for each in self._sessions.values() if each.ends <= now]:
            del self._sessions[session.id]


def csrf_token(secret: bytes, person: Person, session_id: str) -> str:
    """Return what a form of this person has to carry; it is good for one session only."""
    message = f"{session_id}\0{person.tenant}\0{person.name}".encode()
    return hmac.new(secret, message, hashlib.sha256).hexdigest()


def is_csrf_token(given: str, expected: str) -> bool:
    """Compare two tokens in constant time."""
    return hmac.compare_digest(given.encode(), expected.encode())


def _hash(cookie: str) -> str:
    return hashlib.sha256(cookie.encode()).hexdigest()

"""Webhooks: which events they are for, how a delivery is signed, and when it is tried again."""

import hashlib
import hmac
from datetime import timedelta

from msgspec import Struct

from contracts.events import EventType

NOTABLE = frozenset(
    {
        EventType.SCHEDULE_FAILING.value,
        EventType.SCHEDULE_RECOVERED.value,
        EventType.SCHEDULE_DISABLED.value,
        EventType.SCHEDULE_MISSED.value,
    }
)
"""The types of events that go to webhooks: what a person wants to be told."""
ID_HEADER = "Ext-Webhook-Id"
TIMESTAMP_HEADER = "Ext-Webhook-Timestamp"
SIGNATURE_HEADER = "Ext-Webhook-Signature"

GIVE_UP_AFTER = timedelta(hours=24)
FIRST_RETRY_S, RETRY_FACTOR, MAX_RETRY_S = 10.0, 3.0, 3600.0
JITTER = 0.2


class Webhook(Struct, frozen=True):
    """Where events go: those of one tenant, or (None) of every tenant without a webhook of its own.

    ``repr`` does not show the secret.
    """

    url: str
    secret: bytes
    tenant: str | None = None

    def __repr__(self) -> str:
        """Name the receiver alone."""
        return f"Webhook({self.url!r}, tenant={self.tenant!r})"


def signed_headers(secret: bytes, event_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Return the headers of a delivery: HMAC-SHA256 over ``timestamp.body``, in hexadecimal.

    ``timestamp`` is in Unix seconds, so that a receiver can refuse what was recorded and repeated.
    """
    digest = hmac.new(secret, f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()
    return {
        "Content-Type": "application/json",
        ID_HEADER: event_id,
        TIMESTAMP_HEADER: str(timestamp),
        SIGNATURE_HEADER: f"v1={digest}",
    }


def retry_delay(attempts: int, chance: float) -> timedelta:
    """Return the wait after a number of failed attempts; ``chance`` in [0, 1) spreads it."""
    seconds = min(FIRST_RETRY_S * RETRY_FACTOR ** min(attempts - 1, 20), MAX_RETRY_S)
    return timedelta(seconds=seconds * (1 + JITTER * (2 * chance - 1)))

"""A NATS connection for a test, closed afterwards."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from service.bus.client import NatsConnection


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[NatsConnection]:
    """Connect as anybody."""
    client = NatsConnection()  # not the library's own: its flush does not wait for subscriptions
    await client.connect(url, allow_reconnect=False, connect_timeout=60)
    try:
        yield client
    finally:
        await client.close()

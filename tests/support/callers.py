"""A NATS connection for a test, closed afterwards."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import nats
from nats.aio.client import Client


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Client]:
    """Connect as anybody."""
    client = await nats.connect(url, allow_reconnect=False)
    try:
        yield client
    finally:
        await client.close()

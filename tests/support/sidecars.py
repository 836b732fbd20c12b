"""A sidecar as the bridge serves it, and requests to it byte for byte."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from yarl import URL

from contracts.context import signing_key
from runner_bridge.callback import CallbackHandler
from runner_bridge.requests import SignedRequests
from runner_bridge.sidecar import SidecarLimits, serving
from tests.support.callers import connected
from tests.support.tokens import HOST, KEYS

TOKEN = "shared-token"


@asynccontextmanager
async def sidecar_for(
    nats_url: str, platform_url: str | None, limits: SidecarLimits | None = None
) -> AsyncIterator[str]:
    """Serve a sidecar on a free port; yield its base URL."""
    limits = limits or SidecarLimits()
    async with connected(nats_url) as client:
        requests = SignedRequests(client, lambda: signing_key(KEYS, HOST))
        callback = CallbackHandler(requests, TOKEN, limits.body_timeout_s)
        async with serving(callback, platform_url, limits=limits) as url:
            yield url


async def open_socket(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a connection to a server without saying anything."""
    address = URL(url)
    return await asyncio.open_connection(address.host, address.port)


async def exchange(url: str, request: bytes) -> bytes:
    """Send bytes on a connection of their own; return all that comes back until it is closed."""
    reader, writer = await open_socket(url)
    writer.write(request)
    await writer.drain()
    answer = await asyncio.wait_for(reader.read(), 60)
    writer.close()
    return answer

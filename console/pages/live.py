"""The stream that tells open pages to look again: server-sent events, at most one a second."""

import asyncio

from aiohttp import web

from console.app_headers import SECURITY_HEADERS
from console.live import COALESCE_S, TooManyWatchersError, next_change
from console.visit import ConsoleRoute, Visit
from contracts.errors import Code, ServiceError

CHANGED = b"event: changed\ndata: {}\n\n"
RETRY = b"retry: 3000\n\n"


async def stream(visit: Visit) -> web.StreamResponse:
    """Send an event for each second in which something happened that the person may see."""
    headers = {**SECURITY_HEADERS, "Content-Type": "text/event-stream", "X-Accel-Buffering": "no"}
    response = web.StreamResponse(headers=headers)
    try:
        with visit.parts.feed.watching(visit.person) as watcher:
            await response.prepare(visit.request)
            await response.write(RETRY)
            while visit.is_still_in():
                await next_change(watcher)
                await response.write(CHANGED)
                await asyncio.sleep(COALESCE_S)
    except TooManyWatchersError:
        raise ServiceError(Code.UNAVAILABLE, "Too many live pages are open") from None
    except ConnectionResetError:
        return response  # the page was closed
    return response


ROUTES = (ConsoleRoute("GET", "/live", stream),)

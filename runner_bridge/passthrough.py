"""Forwards HTTP requests to the platform as they are, body by body, both ways."""

from logging import getLogger

from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout, web
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

log = getLogger(__name__)

CONNECT_TIMEOUT_S = 5.0
# RFC 9110, section 7.6.1: these concern one connection, not the message.
HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
# The next connection has a host of its own, and this end has already said "continue".
NOT_FORWARDED = HOP_BY_HOP | {"host", "expect"}
_ADDED_BY_LIBRARY = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")


class Passthrough:
    """Forwards to ``base_url``; the session stays its opener's to close."""

    def __init__(self, session: ClientSession, base_url: str) -> None:
        self._session = session
        self._base_url = base_url.rstrip("/")

    async def forward(self, request: web.Request) -> web.StreamResponse:
        """Send the request on and its answer back, redirects and errors included."""
        try:
            async with self._session.request(
                request.method,
                URL(self._base_url + request.raw_path, encoded=True),
                headers=_kept(request.headers, NOT_FORWARDED),
                data=request.content.iter_any() if request.can_read_body else None,
                skip_auto_headers=_ADDED_BY_LIBRARY,
                timeout=ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S),
                allow_redirects=False,
                auto_decompress=False,
            ) as answer:
                return await _relay(request, answer)
        except (ClientError, OSError, TimeoutError) as error:
            log.warning("platform cannot be reached: %r", error)
            return web.json_response({"error": "Platform cannot be reached"}, status=502)


async def _relay(request: web.Request, answer: ClientResponse) -> web.StreamResponse:
    response = web.StreamResponse(
        status=answer.status, reason=answer.reason, headers=_kept(answer.headers, HOP_BY_HOP)
    )
    await response.prepare(request)
    try:
        async for chunk in answer.content.iter_any():
            await response.write(chunk)
    except (ClientError, OSError) as error:
        # Half an answer is out: only a broken connection tells the caller that the rest is missing.
        log.warning("forwarding broke off: %r", error)
        if request.transport is not None:
            request.transport.abort()
        return response
    await response.write_eof()
    return response


def _kept(headers: CIMultiDictProxy[str], dropped: frozenset[str]) -> CIMultiDict[str]:
    named = headers.get("connection", "").lower().replace(" ", "").split(",")
    without = dropped.union(named)
    return CIMultiDict(
        (name, value) for name, value in headers.items() if name.lower() not in without
    )

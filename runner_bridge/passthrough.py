"""Forwards HTTP requests to the platform unchanged, streaming both bodies."""

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
# The next connection has a host of its own, and "100 continue" was sent already.
NOT_FORWARDED = HOP_BY_HOP | {"host", "expect"}
_ADDED_BY_LIBRARY = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")


class Passthrough:
    """Forwards requests to ``base_url``; the caller closes the session."""

    def __init__(self, session: ClientSession, base_url: str) -> None:
        self._session = session
        self._base_url = base_url.rstrip("/")

    async def forward(self, request: web.Request) -> web.StreamResponse:
        """Forward a request and return its response, redirects and errors included."""
        try:
            async with self._session.request(
                request.method,
                URL(self._base_url + request.raw_path, encoded=True),
                headers=_filter_headers(request.headers, NOT_FORWARDED),
                data=request.content.iter_any() if request.can_read_body else None,
                skip_auto_headers=_ADDED_BY_LIBRARY,
                timeout=ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S),
                allow_redirects=False,
                auto_decompress=False,
            ) as upstream:
                return await _relay(request, upstream)
        except (ClientError, OSError, TimeoutError) as error:
            log.warning("platform unavailable: %r", error)
            return web.json_response({"error": "Platform cannot be reached"}, status=502)


async def _relay(request: web.Request, upstream: ClientResponse) -> web.StreamResponse:
    response = web.StreamResponse(
        status=upstream.status,
        reason=upstream.reason,
        headers=_filter_headers(upstream.headers, HOP_BY_HOP),
    )
    await response.prepare(request)
    try:
        async for chunk in upstream.content.iter_any():
            await response.write(chunk)
    except (ClientError, OSError) as error:
        # Part of the response is sent: only a closed connection tells the caller that it is cut.
        log.warning("upstream aborted: %r", error)
        if request.transport is not None:
            request.transport.abort()
        return response
    await response.write_eof()
    return response


def _filter_headers(headers: CIMultiDictProxy[str], dropped: frozenset[str]) -> CIMultiDict[str]:
    connection_headers = headers.get("connection", "").lower().replace(" ", "").split(",")
    removed = dropped.union(connection_headers)
    return CIMultiDict(
        (name, value) for name, value in headers.items() if name.lower() not in removed
    )

"""Forwards HTTP requests to the platform byte for byte, streaming both bodies."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from logging import getLogger

from aiohttp import (
    ClientError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
    TCPConnector,
    web,
)
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
_ADDED_TO_REQUESTS = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")
_ADDED_TO_RESPONSES = ("Content-Type", "Date", "Server")
_UPSTREAM_HEADERS = web.ResponseKey("upstream_headers", CIMultiDictProxy[str])


class Passthrough:
    """Forwards requests to ``base_url``; the caller closes the session.

    A request body may pause for ``body_timeout_s``.
    """

    def __init__(self, session: ClientSession, base_url: str, body_timeout_s: float) -> None:
        self._session = session
        self._base_url = base_url.rstrip("/")
        self._body_timeout_s = body_timeout_s

    async def forward(self, request: web.Request, path: str) -> web.StreamResponse:
        """Forward a request with this path and query; return its response, errors included."""
        unusable = _refusal(request.headers)
        if unusable is not None:
            return unusable
        try:
            async with self._session.request(
                request.method,
                URL(self._base_url + path, encoded=True),
                headers=_filter_headers(request.headers, NOT_FORWARDED),
                data=self._body(request) if request.can_read_body else None,
                skip_auto_headers=_ADDED_TO_REQUESTS,
                timeout=ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S),
                allow_redirects=False,
            ) as upstream:
                return await _relay(request, upstream)
        except (ClientError, OSError) as error:
            if isinstance(error, TimeoutError) and not isinstance(error, ClientError):
                return failure(408, "Request body did not arrive in time")
            log.warning("platform unavailable: %r", error)
            return failure(502, "Platform cannot be reached")

    async def _body(self, request: web.Request) -> AsyncIterator[bytes]:
        while True:
            async with asyncio.timeout(self._body_timeout_s):
                chunk = await request.content.readany()
            if not chunk:
                return
            yield chunk


@asynccontextmanager
async def platform_session() -> AsyncIterator[ClientSession]:
    """Open a session that keeps no state between requests: no cookies, and no connections.

    On a kept connection the library sends a request again when it breaks, without its body.
    """
    connector = TCPConnector(force_close=True, limit=0)
    async with ClientSession(
        connector=connector, cookie_jar=DummyCookieJar(), auto_decompress=False
    ) as session:
        yield session


async def drop_added_headers(_: web.Request, response: web.StreamResponse) -> None:
    """Remove what the library adds to a forwarded response; a hook before its headers are sent."""
    upstream = response.get(_UPSTREAM_HEADERS)
    if upstream is not None:
        for name in _ADDED_TO_RESPONSES:
            if name not in upstream:
                response.headers.pop(name, None)


def failure(status: int, error: str, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return a response of the bridge itself, with a JSON body."""
    return web.json_response({"error": error}, status=status, headers=headers)


def _refusal(headers: CIMultiDictProxy[str]) -> web.Response | None:
    """Return the answer to a request that cannot be forwarded unchanged, else None."""
    encodings = headers.getall("transfer-encoding", [])
    if encodings and [encoding.strip().lower() for encoding in encodings] != ["chunked"]:
        return failure(501, "Transfer-Encoding is not supported")
    if headers.get("upgrade", "").strip().lower() in {"tcp", "websocket"}:
        return failure(501, "Upgrade is not supported")
    if not _is_text(headers):
        return failure(400, "A header is not UTF-8")
    return None


def _is_text(headers: CIMultiDictProxy[str]) -> bool:
    # The library would leave out the bytes that it could not decode.
    try:
        "".join(part for item in headers.items() for part in item).encode()
    except UnicodeEncodeError:
        return False
    return True


async def _relay(request: web.Request, upstream: ClientResponse) -> web.StreamResponse:
    if not _is_text(upstream.headers):
        log.warning("platform answered with a header that is not UTF-8")
        return failure(502, "Platform answered with a header that is not UTF-8")
    response = web.StreamResponse(
        status=upstream.status,
        reason=upstream.reason,
        headers=_filter_headers(upstream.headers, HOP_BY_HOP),
    )
    response[_UPSTREAM_HEADERS] = upstream.headers
    await response.prepare(request)
    try:
        async for chunk in upstream.content.iter_any():
            await response.write(chunk)
    except (ClientError, OSError) as error:
        # Part of the response is sent: only a closed connection shows the caller that it is cut.
        log.warning("upstream aborted: %r", error)
        if request.transport is not None:
            request.transport.abort()
        return response
    await response.write_eof()
    return response


def _filter_headers(headers: CIMultiDictProxy[str], dropped: frozenset[str]) -> CIMultiDict[str]:
    named = ",".join(headers.getall("connection", [])).lower().split(",")
    removed = dropped.union(name.strip() for name in named)
    return CIMultiDict(
        (name, value) for name, value in headers.items() if name.lower() not in removed
    )

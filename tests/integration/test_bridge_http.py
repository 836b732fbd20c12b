"""What a sidecar does with requests that no Runner would send, byte for byte."""

import asyncio
import gzip
import logging
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession, DummyCookieJar, web

from runner_bridge.sidecar import SidecarLimits
from tests.support.eventually import eventually
from tests.support.runner_double import ReceivedCall, RunnerDouble, http_runner
from tests.support.sidecars import TOKEN, exchange, open_socket, sidecar_for
from tests.wire.samples_host import INSTALL_ID

PATH = f"/api/internal/ext-scheduler/install/{INSTALL_ID}"
BRIEF_BODY = SidecarLimits(body_timeout_s=0.5, lingering_s=0.1, max_connections=4)
BRIEF_HEADERS = SidecarLimits(header_timeout_s=0.5, lingering_s=0.1, max_connections=4)
END = b"Host: x\r\nConnection: close\r\n\r\n"


@pytest.fixture
async def platform() -> AsyncIterator[RunnerDouble]:
    async with http_runner() as stub:
        yield stub


@pytest.fixture
async def sidecar(nats_url: str, platform: RunnerDouble) -> AsyncIterator[str]:
    # By name: a cookie jar keeps nothing of addresses.
    async with sidecar_for(nats_url, platform.url.replace("127.0.0.1", "localhost")) as url:
        yield url


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with ClientSession(auto_decompress=False, cookie_jar=DummyCookieJar()) as session:
        yield session


async def test_a_cookie_that_was_set_for_one_request_is_not_sent_with_another(
    session: ClientSession, sidecar: str, platform: RunnerDouble
) -> None:
    async def answer(_: ReceivedCall) -> web.StreamResponse:
        return web.Response(headers={"set-cookie": "session=alice; Path=/"})

    platform.script = answer
    response = await session.get(f"{sidecar}/login")
    assert response.headers["set-cookie"] == "session=alice; Path=/"
    await session.get(f"{sidecar}/other")
    await session.get(f"{sidecar}/own", headers={"cookie": "session=bob"})
    assert [call.headers.get("cookie") for call in platform.calls] == [None, None, "session=bob"]


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "unknown"])
async def test_a_compressed_request_body_arrives_byte_for_byte(
    session: ClientSession, sidecar: str, platform: RunnerDouble, encoding: str
) -> None:
    body = gzip.compress(b"x" * 100_000)
    headers = {"content-encoding": encoding}
    response = await session.put(f"{sidecar}/blob", data=body, headers=headers)
    assert response.status == 200
    [call] = platform.calls
    assert (call.body, call.headers["content-encoding"]) == (body, encoding)
    assert call.headers["content-length"] == str(len(body))


async def test_a_response_has_the_platforms_headers_and_no_others(
    session: ClientSession, sidecar: str, platform: RunnerDouble
) -> None:
    async def bare(call: ReceivedCall) -> web.StreamResponse:
        request = call.http_request
        assert request.transport is not None
        request.transport.write(
            b"HTTP/1.1 200 Fine\r\nX-One: 1\r\nx-one: 2\r\nConnection: close, X-Hop\r\n"
            b"X-Hop: 1\r\nKeep-Alive: timeout=5\r\nContent-Length: 2\r\n\r\nok"
        )
        request.transport.close()
        return web.Response()

    platform.script = bare
    answer = await exchange(sidecar, b"GET /bare HTTP/1.1\r\n" + END)
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = sorted(line.lower() for line in head.split(b"\r\n")[1:])
    assert answer.startswith(b"HTTP/1.1 200 Fine\r\n")
    assert lines == [b"connection: close", b"content-length: 2", b"x-one: 1", b"x-one: 2"]
    assert body == b"ok"


async def test_hop_by_hop_headers_are_dropped(sidecar: str, platform: RunnerDouble) -> None:
    await exchange(
        sidecar,
        b"GET /a HTTP/1.1\r\nHost: x\r\nConnection: close, X-One\r\nConnection: X-Two\r\n"
        b"X-One: 1\r\nX-Two: 2\r\nTE: trailers\r\nKeep-Alive: timeout=5\r\nTrailer: x\r\n"
        b"Proxy-Authorization: secret\r\nProxy-Connection: close\r\nX-Kept: 1\r\n\r\n",
    )
    [call] = platform.calls
    assert set(call.headers) - {"host", "connection"} == {"x-kept"}


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"CONNECT platform:443 HTTP/1.1", 405),
        (b"CONNECT / HTTP/1.1", 405),
        (b"OPTIONS * HTTP/1.1", 400),
        (b"GET ftp://platform/ HTTP/1.1", 400),
        (b"GET /\xff HTTP/1.1", 400),
        (b"GET no-slash HTTP/1.1", 400),
        (b"GET / HTTP/9.9", 400),
        (b"GE\xffT / HTTP/1.1", 400),
        (b"GET http://platform/a?b=%2F HTTP/1.1", 200),
        (b"PROPFIND /a HTTP/1.1", 200),
        (b"TRACE /a HTTP/1.1", 200),
    ],
)
async def test_an_odd_request_is_answered_without_a_traceback(
    sidecar: str, platform: RunnerDouble, line: bytes, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await exchange(sidecar, line + b"\r\n" + END)
    assert answer.startswith((b"HTTP/1.1 %d " % status, b"HTTP/1.0 %d " % status))
    assert len(platform.calls) == (status == 200)
    assert [record.getMessage() for record in caplog.records if record.exc_info] == []
    assert all(record.levelno < logging.ERROR for record in caplog.records)


async def test_an_absolute_target_reaches_the_platform_by_its_path(
    sidecar: str, platform: RunnerDouble
) -> None:
    await exchange(sidecar, b"GET http://elsewhere/a?b=%2F HTTP/1.1\r\n" + END)
    assert [call.http_request.raw_path for call in platform.calls] == ["/a?b=%2F"]


@pytest.mark.parametrize(
    "headers",
    [
        b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
        b"Content-Length: 3\r\nContent-Length: 4\r\n",
        b"Content-Length: 3, 3\r\n",
        b"Content-Length: +3\r\n",
        b"Content-Length: -3\r\n",
        b"Content-Length: 0x3\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b"Transfer-Encoding:\x0bchunked\r\n",
        b"Content-Length: 3\r\nX: a\r\n b\r\n",
        b"X-Latin: \xff\r\n",
        b"Upgrade: websocket\r\nConnection: upgrade\r\n",
    ],
)
async def test_a_request_that_two_servers_would_read_differently_is_refused(
    sidecar: str, platform: RunnerDouble, headers: bytes
) -> None:
    request = b"POST /a HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n3\r\nabc\r\n0\r\n\r\n"
    reader, writer = await open_socket(sidecar)
    writer.write(request)
    status = int((await reader.readline()).split()[1])
    writer.close()
    assert status in {400, 501}
    assert platform.calls == []


NEAR_MISSES = [f"{PATH}/", f"/{PATH}", PATH.replace("/ext", "%2Fext"), PATH.upper(), f"{PATH}/."]


@pytest.mark.parametrize("target", NEAR_MISSES)
@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_a_near_miss_of_the_callback_is_answered_and_not_forwarded(
    sidecar: str, platform: RunnerDouble, target: str, method: str
) -> None:
    answer = await exchange(sidecar, f"{method} {target} HTTP/1.1\r\n".encode() + END)
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert answer.endswith(b'{"error": "Not found"}')
    assert platform.calls == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PROPFIND"])
async def test_another_method_on_the_callback_is_answered_405(
    session: ClientSession, sidecar: str, platform: RunnerDouble, method: str
) -> None:
    response = await session.request(method, sidecar + PATH, headers={"x-runner-auth": TOKEN})
    assert (response.status, response.headers["allow"]) == (405, "POST")
    assert response.content_type == "application/json"
    assert platform.calls == []


@pytest.mark.parametrize("spelling", ["urn:uuid:{}", "{{{}}}", "{}0"])
async def test_an_install_id_in_another_spelling_is_not_found(
    session: ClientSession, sidecar: str, spelling: str
) -> None:
    url = sidecar + PATH.replace(INSTALL_ID, spelling.format(INSTALL_ID))
    response = await session.post(url, json={}, headers={"x-runner-auth": TOKEN})
    assert response.status == 404


async def test_a_compressed_callback_is_answered_415(session: ClientSession, sidecar: str) -> None:
    headers = {"x-runner-auth": TOKEN, "content-encoding": "gzip"}
    body = gzip.compress(b'{"operation": "list"}')
    response = await session.post(sidecar + PATH, data=body, headers=headers)
    assert response.status == 415
    assert (await response.json())["code"] == "VALIDATION_FAILED"


@pytest.fixture
async def impatient(nats_url: str, platform: RunnerDouble) -> AsyncIterator[str]:
    async with sidecar_for(nats_url, platform.url, BRIEF_BODY) as url:
        yield url


async def test_unfinished_headers_end_the_connection(nats_url: str, platform: RunnerDouble) -> None:
    async with sidecar_for(nats_url, platform.url, BRIEF_HEADERS) as url:
        assert await exchange(url, b"GET / HTTP/1.1\r\nHost: ") == b""


async def test_a_slow_callback_body_is_answered_408(impatient: str) -> None:
    answer = await exchange(
        impatient,
        f"POST {PATH} HTTP/1.1\r\nx-runner-auth: {TOKEN}\r\nContent-Length: 9\r\n".encode() + END,
    )
    assert answer.startswith(b"HTTP/1.1 408 ")


async def test_a_body_that_pauses_too_long_is_not_forwarded_further(impatient: str) -> None:
    answer = await exchange(impatient, b"PUT /a HTTP/1.1\r\nContent-Length: 9\r\n" + END + b"abc")
    assert answer.startswith(b"HTTP/1.1 408 ")


async def test_idle_connections_give_way_to_new_ones(nats_url: str, platform: RunnerDouble) -> None:
    limits = SidecarLimits(max_connections=4)
    async with sidecar_for(nats_url, platform.url, limits) as url:
        sockets = [await open_socket(url) for _ in range(12)]
        for _, writer in sockets:
            writer.write(b"GET / HTTP/1.1\r\n")
        answer = await exchange(url, b"GET /a HTTP/1.1\r\n" + END)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert await asyncio.wait_for(sockets[0][0].read(), 60) == b""
        for _, writer in sockets:
            writer.close()


async def test_a_connection_in_use_does_not_give_way(nats_url: str, platform: RunnerDouble) -> None:
    release = platform.hold()
    limits = SidecarLimits(max_connections=1)
    async with sidecar_for(nats_url, platform.url, limits) as url:
        first = asyncio.create_task(exchange(url, b"GET /a HTTP/1.1\r\n" + END))
        await eventually(lambda: platform.in_flight == 1)
        assert await exchange(url, b"GET /b HTTP/1.1\r\n" + END) == b""
        release.set()
        assert (await first).startswith(b"HTTP/1.1 200 ")

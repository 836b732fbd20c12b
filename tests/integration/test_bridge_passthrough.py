"""What the sidecar forwards to the platform: everything else, unchanged, in a stream."""

import asyncio
import gzip
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientPayloadError, ClientSession, web
from yarl import URL

from devstack.embedded.servers import free_port
from tests.support.runner_double import ReceivedCall, RunnerDouble, http_runner
from tests.support.sidecars import sidecar_for

STORAGE = "/api/internal/ext-storage/install/1?key=a%2Fb&x=%C3%A9"


@pytest.fixture
async def platform() -> AsyncIterator[RunnerDouble]:
    async with http_runner() as stub:
        yield stub


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with ClientSession(auto_decompress=False) as session:
        yield session


@pytest.fixture
async def sidecar(nats_url: str, platform: RunnerDouble) -> AsyncIterator[str]:
    async with sidecar_for(nats_url, platform.url) as url:
        yield url


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"])
async def test_method_path_query_headers_and_body_arrive_unchanged(
    session: ClientSession, sidecar: str, platform: RunnerDouble, method: str
) -> None:
    body = None if method == "GET" else b"\x00raw"
    headers = {
        "x-runner-auth": "t",
        "x-many": "1",
        "cookie": "a=b",
        "connection": "x-hop",
        "x-hop": "1",
    }
    response = await session.request(
        method, URL(sidecar + STORAGE, encoded=True), data=body, headers=headers
    )
    assert response.status == 200
    [call] = platform.calls
    assert (call.http_request.method, call.http_request.raw_path) == (method, STORAGE)
    assert call.body == (body or b"")
    assert {call.headers[name] for name in ("x-runner-auth", "x-many", "cookie")} == {
        "t",
        "1",
        "a=b",
    }
    assert "x-hop" not in call.headers


@pytest.mark.parametrize("status", [201, 204, 302, 304, 404, 500])
async def test_status_and_headers_come_back_unchanged(
    session: ClientSession, sidecar: str, platform: RunnerDouble, status: int
) -> None:
    async def answer(_: ReceivedCall) -> web.StreamResponse:
        headers = [("location", "/elsewhere"), ("set-cookie", "a=1"), ("set-cookie", "b=2")]
        return web.Response(status=status, headers=headers)

    platform.script = answer
    response = await session.get(sidecar + STORAGE, allow_redirects=False)
    assert response.status == status
    assert response.headers["location"] == "/elsewhere"
    assert response.headers.getall("set-cookie") == ["a=1", "b=2"]


async def test_compressed_bodies_stay_compressed(
    session: ClientSession, sidecar: str, platform: RunnerDouble
) -> None:
    packed = gzip.compress(b"x" * 1000)

    async def answer(_: ReceivedCall) -> web.StreamResponse:
        return web.Response(body=packed, headers={"content-encoding": "gzip"})

    platform.script = answer
    response = await session.get(sidecar + STORAGE)
    assert await response.read() == packed
    assert response.headers["content-encoding"] == "gzip"


async def test_a_head_response_has_the_length_and_no_body(
    session: ClientSession, sidecar: str, platform: RunnerDouble
) -> None:
    async def answer(_: ReceivedCall) -> web.StreamResponse:
        return web.Response(body=b"12345")

    platform.script = answer
    response = await session.head(sidecar + STORAGE)
    assert (response.status, response.headers["content-length"]) == (200, "5")


async def test_bodies_stream_both_ways_without_end(
    session: ClientSession, sidecar: str, platform: RunnerDouble
) -> None:
    arrived = asyncio.Event()

    async def echo(call: ReceivedCall) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(call.http_request)
        async for chunk in call.http_request.content.iter_any():
            await response.write(chunk)
        return response

    platform.script, platform.reads_body = echo, False

    async def parts() -> AsyncIterator[bytes]:
        yield b"first"
        await arrived.wait()
        yield b"second"

    async with session.post(sidecar + STORAGE, data=parts()) as response:
        assert await response.content.readexactly(5) == b"first"
        arrived.set()
        assert await response.content.read() == b"second"


async def test_an_aborted_upstream_response_aborts_the_forwarded_one(
    session: ClientSession, sidecar: str, platform: RunnerDouble
) -> None:
    async def break_off(call: ReceivedCall) -> web.StreamResponse:
        request = call.http_request
        response = web.StreamResponse(headers={"content-length": "1000"})
        await response.prepare(request)
        await response.write(b"half")
        assert request.transport is not None
        request.transport.abort()
        return response

    platform.script = break_off
    async with session.get(sidecar + STORAGE) as response:
        with pytest.raises((ClientPayloadError, ConnectionResetError)):
            await response.read()


async def test_an_unavailable_platform_is_answered_502(
    nats_url: str, session: ClientSession
) -> None:
    async with sidecar_for(nats_url, f"http://127.0.0.1:{free_port()}") as url:
        response = await session.get(f"{url}/anything")
        assert response.status == 502
        assert await response.json() == {"error": "Platform cannot be reached"}

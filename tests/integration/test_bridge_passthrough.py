"""What the sidecar forwards to the platform: everything else, unchanged, in a stream."""

import asyncio
import gzip
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientPayloadError, ClientSession, web
from yarl import URL

from devstack.embedded.servers import free_port
from tests.support.runner_stub import Post, RunnerStub, runner_stub
from tests.support.sidecars import sidecar_for

STORAGE = "/api/internal/ext-storage/install/1?key=a%2Fb&x=%C3%A9"


@pytest.fixture
async def platform() -> AsyncIterator[RunnerStub]:
    async with runner_stub() as stub:
        yield stub


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with ClientSession(auto_decompress=False) as session:
        yield session


@pytest.fixture
async def sidecar(nats_url: str, platform: RunnerStub) -> AsyncIterator[str]:
    async with sidecar_for(nats_url, platform.url) as url:
        yield url


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"])
async def test_method_path_query_headers_and_body_arrive_unchanged(
    session: ClientSession, sidecar: str, platform: RunnerStub, method: str
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
    [post] = platform.posts
    assert (post.method, post.target) == (method, STORAGE)
    assert post.body == (body or b"")
    assert {post.headers[name] for name in ("x-runner-auth", "x-many", "cookie")} == {
        "t",
        "1",
        "a=b",
    }
    assert "x-hop" not in post.headers


@pytest.mark.parametrize("status", [201, 204, 302, 304, 404, 500])
async def test_status_and_headers_come_back_unchanged(
    session: ClientSession, sidecar: str, platform: RunnerStub, status: int
) -> None:
    async def respond(_: Post) -> web.StreamResponse:
        headers = [("location", "/elsewhere"), ("set-cookie", "a=1"), ("set-cookie", "b=2")]
        return web.Response(status=status, headers=headers)

    platform.respond = respond
    response = await session.get(sidecar + STORAGE, allow_redirects=False)
    assert response.status == status
    assert response.headers["location"] == "/elsewhere"
    assert response.headers.getall("set-cookie") == ["a=1", "b=2"]


async def test_compressed_bodies_stay_compressed(
    session: ClientSession, sidecar: str, platform: RunnerStub
) -> None:
    packed = gzip.compress(b"x" * 1000)

    async def respond(_: Post) -> web.StreamResponse:
        return web.Response(body=packed, headers={"content-encoding": "gzip"})

    platform.respond = respond
    response = await session.get(sidecar + STORAGE)
    assert await response.read() == packed
    assert response.headers["content-encoding"] == "gzip"


async def test_a_head_response_has_the_length_and_no_body(
    session: ClientSession, sidecar: str, platform: RunnerStub
) -> None:
    async def respond(_: Post) -> web.StreamResponse:
        return web.Response(body=b"12345")

    platform.respond = respond
    response = await session.head(sidecar + STORAGE)
    assert (response.status, response.headers["content-length"]) == (200, "5")


async def test_bodies_stream_both_ways_without_end(
    session: ClientSession, sidecar: str, platform: RunnerStub
) -> None:
    arrived = asyncio.Event()

    async def echo(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        async for chunk in request.content.iter_any():
            await response.write(chunk)
        return response

    platform.stream = echo

    async def parts() -> AsyncIterator[bytes]:
        yield b"first"
        await arrived.wait()
        yield b"second"

    async with session.post(sidecar + STORAGE, data=parts()) as response:
        assert await response.content.readexactly(5) == b"first"
        arrived.set()
        assert await response.content.read() == b"second"


async def test_an_aborted_upstream_response_aborts_the_forwarded_one(
    session: ClientSession, sidecar: str, platform: RunnerStub
) -> None:
    async def break_off(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-length": "1000"})
        await response.prepare(request)
        await response.write(b"half")
        assert request.transport is not None
        request.transport.abort()
        return response

    platform.stream = break_off
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

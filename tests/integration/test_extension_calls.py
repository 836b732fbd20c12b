"""Calls to the sample as the demo makes them, to a Runner that has it compiled or not."""

import aiohttp
from aiohttp import web

from devstack.extension_calls import execute
from tests.support.runner_stub import RESULT, Post, runner_stub

LOADING = {"error": "component_loading: it is still being compiled"}


async def test_an_execution_is_retried_while_its_component_compiles() -> None:
    async def respond(_: Post) -> web.StreamResponse:
        if len(stub.posts) < 3:
            return web.json_response(LOADING, status=503)
        return web.Response(body=RESULT)

    async with runner_stub() as stub, aiohttp.ClientSession() as session:
        stub.respond = respond
        answer = await execute(session, stub.url.rstrip("/"), b"{}")
    assert (answer.status, answer.body_b64) == (200, "e30=")
    assert [post.path for post in stub.posts] == ["/v1/execute"] * 3

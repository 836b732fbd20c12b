"""Calls to the sample as the demo makes them, to a Runner that has it compiled or not."""

import aiohttp
from aiohttp import web

from devstack.extension_calls import execute
from tests.support.runner_double import RESULT, ReceivedCall, http_runner

LOADING = {"error": "component_loading: it is still being compiled"}


async def test_an_execution_is_retried_while_its_component_compiles() -> None:
    async def load_twice(_: ReceivedCall) -> web.StreamResponse:
        if len(stub.calls) < 3:
            return web.json_response(LOADING, status=503)
        return web.Response(body=RESULT)

    async with http_runner() as stub, aiohttp.ClientSession() as session:
        stub.script = load_twice
        answer = await execute(session, stub.url.rstrip("/"), b"{}")
    assert (answer.status, answer.body_b64) == (200, "e30=")
    assert [call.http_request.path for call in stub.calls] == ["/v1/execute"] * 3

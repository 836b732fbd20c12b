"""A Runner that records every call and answers as its script says: over HTTP, or on the bus.

With ``remembers``, as the platform's Runner: it keeps each answer, failures included, by the key
of the call, and answers a known key without calling the extension.
"""

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from aiohttp import web
from aiohttp.test_utils import TestServer
from msgspec import Struct
from nats.aio.client import Client
from nats.aio.msg import Msg

from contracts.subjects import EXECUTE_SUBJECT, IDEMPOTENCY_HEADER, RUNNER_QUEUE
from tests.support.callers import connected

OK = b'{"status":200,"headers":{}}'
RESULT = b'{"status": 200,  "headers": {"x-made-by": "guest"}, "body_b64": "e30="}'
HTTP_KEY_HEADER = "x-idempotency-key"


class ReceivedCall(Struct, frozen=True):
    """One call as it arrived, ``received`` in Unix seconds.

    Over HTTP the header names are in lower case and ``http`` is the request; ``body`` is empty
    where the double leaves it to the script.
    """

    headers: dict[str, str]
    body: bytes
    received: float
    http: web.Request | None = None

    @property
    def key(self) -> str:
        """Return the idempotency key, empty without one."""
        name = IDEMPOTENCY_HEADER if self.http is None else HTTP_KEY_HEADER
        return self.headers.get(name, "")

    @property
    def http_request(self) -> web.Request:
        """Return the request that it came with, over HTTP."""
        assert self.http is not None
        return self.http

    @property
    def request(self) -> dict[str, Any]:
        """Return the body as an execution request."""
        document: dict[str, Any] = msgspec.json.decode(self.body)
        return document

    @property
    def schedule_id(self) -> str:
        """Return the schedule that it is for."""
        return str(self.request["context"]["schedule_id"])

    @property
    def payload(self) -> Any:
        """Return the JSON value that the extension receives, None without one."""
        text = self.request["http"].get("body_b64")
        return None if text is None else msgspec.json.decode(base64.b64decode(text))


Response = bytes | web.StreamResponse | None
"""The body of a response, or all of an HTTP response; None: the call is left unanswered."""
Script = Callable[[ReceivedCall], Awaitable[Response]]


def answering(body: bytes) -> Script:
    """Return a script that gives the same answer to every call."""

    async def answer(_: ReceivedCall) -> bytes:
        return body

    return answer


def status(code: int, error: str | None = None) -> Script:
    """Return a script that answers every call with the extension's status."""
    document: dict[str, Any] = {"status": code, "headers": {}}
    if error is not None:
        document["error"] = error
    return answering(msgspec.json.encode(document))


class RunnerDouble:
    """``script`` may be replaced at any time.

    ``executed`` are the calls that reached the extension: all but those answered from memory.
    ``max_in_flight`` is how many were in flight at once. ``reads_body`` may be turned off for a
    script that reads an HTTP body piece by piece.
    """

    def __init__(self, script: Script, *, remembers: bool = False) -> None:
        self.script = script
        self.url = ""
        self.calls: list[ReceivedCall] = []
        self.executed: list[ReceivedCall] = []
        self.in_flight = 0
        self.max_in_flight = 0
        self.reads_body = True
        self._answers: dict[str, bytes] | None = {} if remembers else None

    async def answer(self, call: ReceivedCall) -> Response:
        """Record a call and return what the script, or the memory, answers."""
        self.calls.append(call)
        if self._answers is not None and call.key in self._answers:
            return self._answers[call.key]
        self.executed.append(call)
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        try:
            response = await self.script(call)
        finally:
            self.in_flight -= 1
        if self._answers is not None:
            assert isinstance(response, bytes), "only a body can be sent again"
            self._answers[call.key] = response
        return response

    def hold(self) -> asyncio.Event:
        """Answer no call until the event is set."""
        release, script = asyncio.Event(), self.script

        async def answer_later(call: ReceivedCall) -> Response:
            await release.wait()
            return await script(call)

        self.script = answer_later
        return release


@asynccontextmanager
async def http_runner(*, remembers: bool = False) -> AsyncIterator[RunnerDouble]:
    """Serve a double over HTTP, on a free port."""
    runner = RunnerDouble(answering(RESULT), remembers=remembers)

    async def handle(request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        body = await request.read() if runner.reads_body else b""
        response = await runner.answer(ReceivedCall(headers, body, time.time(), request))
        if isinstance(response, web.StreamResponse):
            return response
        assert response is not None, "an HTTP request is answered"
        return web.Response(body=response, content_type="application/json")

    application = web.Application()
    application.router.add_route("*", "/{rest:.*}", handle)
    server = TestServer(application)
    await server.start_server(auto_decompress=False)  # bodies are recorded as they were sent
    runner.url = str(server.make_url(""))
    try:
        yield runner
    finally:
        await server.close()


@asynccontextmanager
async def bus_runner(url: str) -> AsyncIterator[RunnerDouble]:
    """Subscribe a double to the bus, on a connection of its own."""
    async with connected(url) as client, subscribed_runner(client) as runner:
        yield runner


@asynccontextmanager
async def subscribed_runner(client: Client) -> AsyncIterator[RunnerDouble]:
    """Subscribe a double on a connection that its owner closes; each call has its own task."""
    runner, tasks = RunnerDouble(answering(OK)), set[asyncio.Task[None]]()

    async def answer(call: ReceivedCall, reply_to: str) -> None:
        response = await runner.answer(call)
        assert not isinstance(response, web.StreamResponse), "an answer on the bus is its body"
        if response is not None:
            await client.publish(reply_to, response)

    async def receive(message: Msg) -> None:
        call = ReceivedCall(dict(message.headers or {}), message.data, time.time())
        task = asyncio.create_task(answer(call, message.reply))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    await client.subscribe(EXECUTE_SUBJECT, queue=RUNNER_QUEUE, cb=receive)
    await client.flush()
    try:
        yield runner
    finally:
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

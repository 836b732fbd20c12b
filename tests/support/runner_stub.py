"""A Runner or platform over real HTTP that notes what arrives and answers as it is told.

With ``remembers``, as the platform's Runner: it keeps each answer, failures included, by the key
of the request, and answers a known key without calling the extension.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.test_utils import TestServer
from msgspec import Struct

RESULT = b'{"status": 200,  "headers": {"x-made-by": "guest"}, "body_b64": "e30="}'


class Post(Struct, frozen=True):
    """What arrived; header names in lower case, ``target`` as spelled in the request."""

    method: str
    path: str
    target: str
    headers: dict[str, str]
    body: bytes


Stream = Callable[[web.Request], Awaitable[web.StreamResponse]]
Respond = Callable[[Post], Awaitable[web.StreamResponse]]


async def _result(_: Post) -> web.StreamResponse:
    return web.Response(body=RESULT, content_type="application/json")


class RunnerStub:
    """``respond`` may be replaced; ``most`` is how many posts were ever in hand at once.

    ``executed`` are the posts that reached the extension: all but those answered from memory.
    """

    def __init__(self, *, remembers: bool = False) -> None:
        self.url = ""
        self.posts: list[Post] = []
        self.executed: list[Post] = []
        self.answers: dict[str, tuple[int, bytes]] | None = {} if remembers else None
        self.respond: Respond = _result
        self.stream: Stream | None = None
        self.most = 0
        self.in_hand = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Note one post and answer it; with ``stream``, only let that answer."""
        if self.stream is not None:
            return await self.stream(request)
        headers = {name.lower(): value for name, value in request.headers.items()}
        post = Post(request.method, request.path, request.raw_path, headers, await request.read())
        self.posts.append(post)
        key = headers.get("x-idempotency-key", "")
        if self.answers is not None and key in self.answers:
            status, body = self.answers[key]
            return web.Response(status=status, body=body, content_type="application/json")
        self.executed.append(post)
        self.in_hand += 1
        self.most = max(self.most, self.in_hand)
        try:
            response = await self.respond(post)
        finally:
            self.in_hand -= 1
        if self.answers is not None:
            assert isinstance(response, web.Response)
            assert isinstance(response.body, bytes)
            self.answers[key] = (response.status, response.body)
        return response

    def hold(self) -> asyncio.Event:
        """Answer nothing until the event is set."""
        release = asyncio.Event()

        async def respond(post: Post) -> web.StreamResponse:
            await release.wait()
            return await _result(post)

        self.respond = respond
        return release


@asynccontextmanager
async def runner_stub(*, remembers: bool = False) -> AsyncIterator[RunnerStub]:
    """Serve on a free port."""
    stub = RunnerStub(remembers=remembers)
    application = web.Application()
    application.router.add_route("*", "/{rest:.*}", stub.handle)
    server = TestServer(application)
    await server.start_server(auto_decompress=False)  # what arrives is noted as it was sent
    stub.url = str(server.make_url(""))
    try:
        yield stub
    finally:
        await server.close()

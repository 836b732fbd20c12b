"""A Runner on the bus that notes every call, and answers as its script says."""

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from msgspec import Struct
from nats.aio.client import Client
from nats.aio.msg import Msg

from contracts.subjects import EXECUTE_SUBJECT, IDEMPOTENCY_HEADER, RUNNER_QUEUE
from service.bus.client import NatsConnection

OK = b'{"status":200,"headers":{}}'


class Seen(Struct, frozen=True):
    """One call as it arrived."""

    request: dict[str, Any]
    headers: dict[str, str]
    body: bytes

    @property
    def key(self) -> str:
        """The idempotency key."""
        return self.headers[IDEMPOTENCY_HEADER]

    @property
    def schedule_id(self) -> str:
        """Which schedule it is for."""
        return str(self.request["context"]["schedule_id"])

    @property
    def payload(self) -> Any:
        """The body's JSON, None without body."""
        text = self.request["http"].get("body_b64")
        return None if text is None else msgspec.json.decode(base64.b64decode(text))


Script = Callable[[Seen], Awaitable[bytes | None]]
"""Gives the response body; None means silence."""


def answering(body: bytes) -> Script:
    """A script that always gives the same answer."""

    async def answer(_: Seen) -> bytes | None:
        return body

    return answer


def status(code: int, error: str | None = None) -> Script:
    """A script that always answers with a status."""
    document: dict[str, Any] = {"status": code, "headers": {}}
    if error is not None:
        document["error"] = error
    return answering(msgspec.json.encode(document))


class StubRunner:
    """``script`` may be replaced at any time; ``most`` is how many calls were ever in hand."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.script: Script = answering(OK)
        self.seen: list[Seen] = []
        self.in_hand = 0
        self.most = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def receive(self, message: Msg) -> None:
        """Take a call; it is answered in a task of its own."""
        seen = Seen(msgspec.json.decode(message.data), dict(message.headers or {}), message.data)
        self.seen.append(seen)
        task = asyncio.create_task(self._answer(seen, message.reply))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, seen: Seen, reply: str) -> None:
        self.in_hand += 1
        self.most = max(self.most, self.in_hand)
        try:
            body = await self.script(seen)
        finally:
            self.in_hand -= 1
        if body is not None:
            await self.client.publish(reply, body)

    async def close(self) -> None:
        """Forget the calls in hand."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.client.close()


@asynccontextmanager
async def stub_runner(url: str) -> AsyncIterator[StubRunner]:
    """A stub that listens, on a connection of its own."""
    client = NatsConnection()  # not the library's own: its flush does not wait for subscriptions
    await client.connect(url, connect_timeout=60)
    runner = StubRunner(client)
    await client.subscribe(EXECUTE_SUBJECT, queue=RUNNER_QUEUE, cb=runner.receive)
    await client.flush()
    try:
        yield runner
    finally:
        await runner.close()

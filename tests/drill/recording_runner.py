"""A Runner on the bus that checks each call as the bridge does, and writes it down."""

import asyncio
import time
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import msgspec
import nats
from nats.aio.client import Client
from nats.aio.msg import Msg

from contracts.context import ContextRefused, verify
from contracts.subjects import (
    CONTEXT_HEADER,
    DEADLINE_HEADER,
    EXECUTE_OP,
    EXECUTE_SUBJECT,
    IDEMPOTENCY_HEADER,
    RUNNER_AUDIENCE,
    RUNNER_QUEUE,
)
from tests.drill.history import Call
from tests.support.keys import KEYS

SLOWNESS_S = 1.5


class RecordingRunner:
    """Answers most calls with 200 at once; some fail first, fail for good, or take long.

    Which ones, their keys decide: so every attempt of an occurrence meets the same Runner. A
    ``slow`` one takes long for all of them.
    """

    def __init__(self, client: Client, *, slow: bool = False) -> None:
        self.calls: list[Call] = []
        self._client = client
        self._slow = slow
        self._tasks: set[asyncio.Task[None]] = set()

    async def receive(self, message: Msg) -> None:
        """Take a call; it is answered in a task of its own."""
        task = asyncio.create_task(self._answer(message, time.time()))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, message: Msg, received: float) -> None:
        headers = message.headers or {}
        context: dict[str, Any] = msgspec.json.decode(message.data)["context"]
        key, attempt = headers.get(IDEMPOTENCY_HEADER, ""), context["attempt"]
        late = received * 1000 > float(headers.get(DEADLINE_HEADER, "0"))
        status = None if late else status_for(key, attempt)
        if (self._slow or is_slow(key)) and not late:
            await asyncio.sleep(SLOWNESS_S)
        self.calls.append(
            Call(
                key=key,
                schedule_id=context["schedule_id"],
                slot=datetime.fromisoformat(context["scheduled_for"]).timestamp(),
                attempt=attempt,
                signed=_signed(message, received),
                received=received,
                answered=time.time(),
                status=status,
            )
        )
        body: dict[str, Any] = {"status": status or 504, "headers": {}}
        await self._client.publish(message.reply, msgspec.json.encode(body))


def status_for(key: str, attempt: int) -> int:
    """What the extension answers: 503 to the first attempt of one in 40, 422 to one in 100."""
    draw = zlib.crc32(key.encode())
    if draw % 40 == 0 and attempt == 1:
        return 503
    return 422 if draw % 100 == 1 else 200


def is_slow(key: str) -> bool:
    """Whether its calls take a while, so that faults find some in flight."""
    return zlib.crc32(key.encode()) % 25 == 2


def _signed(message: Msg, received: float) -> int | None:
    """The time in the token, if it is a worker's, for this very body."""
    token = (message.headers or {}).get(CONTEXT_HEADER)
    try:
        claims = verify(
            token,
            KEYS,
            audience=RUNNER_AUDIENCE,
            op=EXECUTE_OP,
            body=message.data,
            now=received,
        )
    except ContextRefused:
        return None
    return claims.iat


async def connected(url: str) -> Client:
    """A connection that outlives the server's restarts, without a word."""

    async def hush(_: Exception) -> None:
        return

    return await nats.connect(
        url, max_reconnect_attempts=-1, reconnect_time_wait=0.1, error_cb=hush
    )


@asynccontextmanager
async def recording_runner(url: str, *, slow: bool = False) -> AsyncIterator[RecordingRunner]:
    """A Runner that listens, through restarts of the server, on a connection of its own."""
    client = await connected(url)
    runner = RecordingRunner(client, slow=slow)
    await client.subscribe(EXECUTE_SUBJECT, queue=RUNNER_QUEUE, cb=runner.receive)
    await client.flush()
    try:
        yield runner
    finally:
        await client.close()

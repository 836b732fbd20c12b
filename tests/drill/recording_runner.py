"""A Runner behind several bridges that checks each call as a bridge does, and writes it down."""

import asyncio
import time
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial

import msgspec
import nats
from nats.aio.client import Client

from contracts.context import ContextRefused, verify
from contracts.subjects import (
    CONTEXT_HEADER,
    DEADLINE_HEADER,
    EXECUTE_OP,
    RUNNER_AUDIENCE,
)
from tests.drill.history import Call, Fault
from tests.support.keys import KEYS
from tests.support.runner_double import ReceivedCall, subscribed_runner

SLOWNESS_S = 1.5
BRIDGES = 3
STARTED_AGAIN_AFTER_S = 1.0
KILLED_BY_POISON = "bridge killed by a poison"
UNANSWERED = 502
"""What is recorded of a call whose bridge ended before the answer."""


class RecordingRunner:
    """Answers most calls with 200 at once; some fail first, fail for good, or take long.

    Which ones, their keys decide: so every attempt of an occurrence meets the same Runner. A
    ``slow`` one takes long for all of them. A call of the ``poison``, a schedule, ends the bridge
    that has it, with all that it was working on; ``deaths`` are those ends.
    """

    def __init__(self, *, slow: bool = False) -> None:
        self.calls: list[Call] = []
        self.deaths: list[Fault] = []
        self.poison: str | None = None
        self._slow = slow

    async def answer(self, killed: asyncio.Event, received: ReceivedCall) -> bytes:
        """Answer a call and record it, with what was answered and when.

        Sets ``killed`` where the bridge ends, and is cancelled then.
        """
        context, key = received.request["context"], received.key
        deadline = float(received.headers.get(DEADLINE_HEADER, "0"))
        late = received.received * 1000 > deadline
        status = None if late else status_for(key, context["attempt"])
        try:
            if (self._slow or is_slow(key)) and not late:
                await asyncio.sleep(SLOWNESS_S)
            if context["schedule_id"] == self.poison:
                killed.set()
            if killed.is_set():
                await asyncio.Event().wait()  # until the end of the bridge
        except asyncio.CancelledError:
            self._record(received, None if late else UNANSWERED)
            raise
        self._record(received, status)
        return msgspec.json.encode({"status": status or 504, "headers": {}})

    def _record(self, received: ReceivedCall, status: int | None) -> None:
        context = received.request["context"]
        self.calls.append(
            Call(
                key=received.key,
                schedule_id=context["schedule_id"],
                slot=datetime.fromisoformat(context["scheduled_for"]).timestamp(),
                attempt=context["attempt"],
                signed=_signed(received),
                received=received.received,
                answered=time.time(),
                status=status,
            )
        )


def status_for(key: str, attempt: int) -> int:
    """Return the extension's status: 503 for the first attempt of 1 in 40, 422 for 1 in 100."""
    draw = zlib.crc32(key.encode())
    if draw % 40 == 0 and attempt == 1:
        return 503
    return 422 if draw % 100 == 1 else 200


def is_slow(key: str) -> bool:
    """Return whether its calls take a while, so that faults find some in flight."""
    return zlib.crc32(key.encode()) % 25 == 2


def _signed(call: ReceivedCall) -> int | None:
    """Return the time in the token, if it is a worker's, for this very body."""
    try:
        claims = verify(
            call.headers.get(CONTEXT_HEADER),
            KEYS,
            audience=RUNNER_AUDIENCE,
            op=EXECUTE_OP,
            body=call.body,
            now=call.received,
        )
    except ContextRefused:
        return None
    return claims.iat


async def connected(url: str) -> Client:
    """Return a connection that outlives the server's restarts, without a word."""

    async def hush(_: Exception) -> None:
        return

    return await nats.connect(
        url.split(","),
        max_reconnect_attempts=-1,
        reconnect_time_wait=0.1,
        # A frozen server is noticed as soon as by the service.
        ping_interval=3,
        max_outstanding_pings=2,
        error_cb=hush,
    )


@asynccontextmanager
async def recording_runner(url: str, *, slow: bool = False) -> AsyncIterator[RecordingRunner]:
    """Yield a Runner whose bridges listen, through restarts of the server and their own."""
    recording = RecordingRunner(slow=slow)
    listening = [asyncio.Event() for _ in range(BRIDGES)]
    bridges = [asyncio.create_task(_bridge(url, recording, each)) for each in listening]
    try:
        await asyncio.gather(*(each.wait() for each in listening))
        yield recording
    finally:
        for bridge in bridges:
            bridge.cancel()
        outcomes = await asyncio.gather(*bridges, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome


async def _bridge(url: str, recording: RecordingRunner, listening: asyncio.Event) -> None:
    """Listen on a connection of its own; start again whenever a call has killed it."""
    while True:
        client, killed = await connected(url), asyncio.Event()
        try:
            async with subscribed_runner(client) as runner:
                runner.script = partial(recording.answer, killed)
                listening.set()
                await killed.wait()
                died = time.time()
                await client.close()
        finally:
            await client.close()
        await asyncio.sleep(STARTED_AGAIN_AFTER_S)
        recording.deaths.append(Fault(KILLED_BY_POISON, died, time.time()))

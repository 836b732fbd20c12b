"""A load generator that costs little: frames are built ahead, replies are only counted and timed.

It speaks the NATS protocol over one socket; a client library would be the bottleneck.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from msgspec import Struct

CONNECT = b'CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true}\r\n'
INBOX = b"_INBOX.bench."
SUBSCRIBE = b"SUB %s* 1\r\n" % INBOX
SERVICE_ERROR = b"Nats-Service-Error"
NO_SUCCESS = b"\xa7success\xc2"


class Message(Struct, frozen=True):
    """A request without its reply subject: the frame is ``head``, the reply subject, ``tail``."""

    head: bytes
    tail: bytes


class LoadResult(Struct, frozen=True):
    """What a stretch of load gave; latencies in ms."""

    rate: float
    p50: float
    p99: float


class LoadFailedError(Exception):
    """Some request got no proper answer, so the figures would mean nothing."""


def message(subject: str, headers: bytes, body: bytes) -> Message:
    """Prepare a request; ``headers`` is a whole header block, or empty."""
    name = subject.encode()
    if not headers:
        return Message(b"PUB %s " % name, b" %d\r\n%s\r\n" % (len(body), body))
    sizes = (len(headers), len(headers) + len(body))
    return Message(b"HPUB %s " % name, b" %d %d\r\n%s%s\r\n" % (*sizes, headers, body))


class Generator(asyncio.Protocol):
    """Keeps a number of requests in flight until there are no more."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._messages: Iterator[Message] = iter(())
        self._in_flight = 0
        self._began: list[float] = []
        self._latencies: list[float] = []
        self._over: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(CONNECT + SUBSCRIBE)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data
        frames: list[bytes] = []
        start = 0
        while (end := buffer.find(b"\r\n", start)) >= 0:
            words = buffer[start:end].split()
            if words[0] not in {b"MSG", b"HMSG"}:
                self._control(words)
                start = end + 2
                continue
            beyond = end + 2 + int(words[-1]) + 2
            if beyond > len(buffer):
                break
            self._answered(int(words[1][len(INBOX) :]), buffer[end + 2 : beyond], frames)
            start = beyond
        self._buffer = buffer[start:]
        if frames and self._transport:
            self._transport.write(b"".join(frames))

    async def run(
        self, messages: Sequence[Message], at_once: int, within: float = 120
    ) -> LoadResult:
        """Send them all, ``at_once`` at a time, ``within`` seconds. Raises LoadFailedError."""
        self._messages, self._in_flight, self._latencies = iter(messages), 0, []
        self._began = [0.0] * at_once
        self._over = asyncio.get_running_loop().create_future()
        frames: list[bytes] = []
        began = time.perf_counter()
        for slot in range(at_once):
            self._send(slot, frames)
        assert self._transport
        self._transport.write(b"".join(frames))
        async with asyncio.timeout(within):
            await self._over
        elapsed = time.perf_counter() - began
        latencies = sorted(self._latencies)
        last = len(latencies) - 1
        return LoadResult(
            rate=len(latencies) / elapsed,
            p50=latencies[last // 2] * 1000,
            p99=latencies[last * 99 // 100] * 1000,
        )

    def close(self) -> None:
        """End the connection."""
        if self._transport:
            self._transport.close()

    def _send(self, slot: int, frames: list[bytes]) -> None:
        following = next(self._messages, None)
        if following is not None:
            self._in_flight += 1
            frames.append(b"%s%s%d%s" % (following.head, INBOX, slot, following.tail))
            self._began[slot] = time.perf_counter()

    def _answered(self, slot: int, reply: bytes, frames: list[bytes]) -> None:
        self._latencies.append(time.perf_counter() - self._began[slot])
        self._in_flight -= 1
        if SERVICE_ERROR in reply or NO_SUCCESS in reply or b" 503" in reply[:13]:
            self._fail(reply)
        self._send(slot, frames)
        if not self._in_flight and self._over and not self._over.done():
            self._over.set_result(None)

    def _control(self, words: list[bytes]) -> None:
        if words[0] == b"PING" and self._transport:
            self._transport.write(b"PONG\r\n")
        elif words[0] == b"-ERR":
            self._fail(b" ".join(words))

    def _fail(self, reply: bytes) -> None:
        if self._over and not self._over.done():
            self._over.set_exception(LoadFailedError(repr(reply[:300])))


async def generator(url: str) -> Generator:
    """Connect to a NATS server."""
    address = urlsplit(url)
    assert address.hostname
    assert address.port
    loop = asyncio.get_running_loop()
    _, made = await loop.create_connection(Generator, address.hostname, address.port)
    return made

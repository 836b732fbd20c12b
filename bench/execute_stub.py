"""A Runner that answers at once: it speaks the NATS protocol itself, so that it costs little.

Arguments: the URL of the bus, and, if one tenant's calls are to take long, its id and the seconds.
"""

import asyncio
import sys
from typing import cast
from urllib.parse import urlsplit

import uvloop

from contracts.subjects import EXECUTE_SUBJECT, RUNNER_QUEUE

CONNECT = b'CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true}\r\n'
SUBSCRIBE = f"SUB {EXECUTE_SUBJECT} {RUNNER_QUEUE} 1\r\nPING\r\n".encode()
ANSWER = b'{"status":200,"headers":{}}'


class Stub(asyncio.Protocol):
    """Answers every message with a success; ``ready`` is done once the server knows of it."""

    def __init__(self, ready: asyncio.Future[None], slow: bytes, seconds: float) -> None:
        self._ready = ready
        self._slow = slow
        self._seconds = seconds
        self._transport: asyncio.Transport | None = None
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._write([CONNECT, SUBSCRIBE])

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data
        replies: list[bytes] = []
        start = 0
        while (end := buffer.find(b"\r\n", start)) >= 0:
            words = buffer[start:end].split()
            if words[0] not in {b"MSG", b"HMSG"}:
                if words[0] == b"PING":
                    replies.append(b"PONG\r\n")
                if words[0] == b"PONG" and not self._ready.done():
                    self._ready.set_result(None)
                start = end + 2
                continue
            beyond = end + 2 + int(words[-1]) + 2
            if beyond > len(buffer):
                break
            reply = b"PUB %s %d\r\n%s\r\n" % (words[3], len(ANSWER), ANSWER)
            if self._slow and self._slow in buffer[end:beyond]:
                asyncio.get_running_loop().call_later(self._seconds, self._write, [reply])
            else:
                replies.append(reply)
            start = beyond
        self._buffer = buffer[start:]
        self._write(replies)

    def _write(self, replies: list[bytes]) -> None:
        if replies and self._transport:
            self._transport.write(b"".join(replies))


async def serve(url: str, tenant_id: str = "", seconds: str = "0") -> None:
    """Answer until the process is ended."""
    slow = f'"tenant_id":"{tenant_id}"'.encode() if tenant_id else b""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    host, _, port = urlsplit(url).netloc.rpartition(":")
    await loop.create_connection(lambda: Stub(ready, slow, float(seconds)), host, int(port))
    await ready
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(*sys.argv[1:]))

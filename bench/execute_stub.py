"""A Runner that answers at once: it speaks the NATS protocol itself, so that it costs little."""

import asyncio
import sys
from urllib.parse import urlsplit

from contracts.subjects import EXECUTE_SUBJECT, RUNNER_QUEUE

CONNECT = b'CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true}\r\n'
SUBSCRIBE = f"SUB {EXECUTE_SUBJECT} {RUNNER_QUEUE} 1\r\nPING\r\n".encode()
ANSWER = b'{"status":200,"headers":{}}'


class Stub(asyncio.Protocol):
    """Answers every message with a success; ``ready`` is done once the server knows of it."""

    def __init__(self, ready: asyncio.Future[None]) -> None:
        self._ready = ready
        self._transport: asyncio.Transport | None = None
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(CONNECT + SUBSCRIBE)

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
            replies.append(b"PUB %s %d\r\n%s\r\n" % (words[3], len(ANSWER), ANSWER))
            start = beyond
        self._buffer = buffer[start:]
        if replies and self._transport:
            self._transport.write(b"".join(replies))


async def serve(url: str) -> None:
    """Answer until the process is ended."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    host, _, port = urlsplit(url).netloc.rpartition(":")
    await loop.create_connection(lambda: Stub(ready), host, int(port))
    await ready
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))

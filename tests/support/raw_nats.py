"""NATS by hand, for what no client library would send."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

HELLO = b'CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true}\r\n'


class Wire:
    """A socket to a server: bytes out, and the messages that come in."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, *lines: bytes) -> None:
        """Send protocol lines, and wait until the server has read them."""
        self.writer.write(b"".join(lines) + b"PING\r\n")
        await self.until(b"PONG")

    async def until(self, start: bytes) -> bytes:
        """Return the first line that begins so."""
        async with asyncio.timeout(60):
            while not (line := await self.reader.readline()).startswith(start):
                if not line:
                    raise ConnectionError("the server ended the connection")
        return line


@asynccontextmanager
async def a_wire(url: str) -> AsyncIterator[Wire]:
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    wire = Wire(reader, writer)
    await wire.until(b"INFO")
    await wire.send(HELLO)
    try:
        yield wire
    finally:
        writer.close()
        await writer.wait_closed()


def pub(subject: str, reply: bytes, body: bytes = b"") -> bytes:
    return b"PUB %s %s %d\r\n%s\r\n" % (subject.encode(), reply, len(body), body)


def hpub(subject: str, reply: bytes, headers: bytes, body: bytes = b"") -> bytes:
    total = len(headers) + len(body)
    return b"HPUB %s %s %d %d\r\n%s%s\r\n" % (
        subject.encode(),
        reply,
        len(headers),
        total,
        headers,
        body,
    )

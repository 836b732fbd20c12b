"""Requests as exact bytes, replies as exactly what came back: for what no library would send."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from uuid import UUID

from msgspec import Struct

from contracts.context import Claims, body_sha256, sign
from contracts.encoding import Encoding, encode
from contracts.subjects import CONTENT_TYPE_HEADER, CONTEXT_HEADER, HOST_AUDIENCE, host_subject
from tests.support.keys import RUNNER_KEY
from tests.support.platform import Installed
from tests.support.raw_nats import Wire, a_wire, hpub, pub

HEADERS_BEGIN = b"NATS/1.0\r\n"
INBOX = "_INBOX.wire"


class WireReply(Struct, frozen=True):
    """A reply; ``headers`` as (name, value) in their order, doubles included."""

    headers: tuple[tuple[str, str], ...]
    body: bytes


class WireClient:
    """Many requests at once over one socket."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._numbers = count()
        self._waiting: dict[str, asyncio.Future[WireReply]] = {}

    async def request(
        self, subject: str, headers: bytes | None, body: bytes, within: float = 60.0
    ) -> WireReply:
        """Send it; ``headers`` is the whole block, None for a message without one."""
        number = str(next(self._numbers))
        future: asyncio.Future[WireReply] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        reply_to = f"{INBOX}.{number}".encode()
        message = (
            pub(subject, reply_to, body)
            if headers is None
            else hpub(subject, reply_to, headers, body)
        )
        self._wire.writer.write(message)
        await self._wire.writer.drain()
        async with asyncio.timeout(within):
            return await future

    async def listen(self) -> None:
        """Deliver replies until the connection ends; its end fails what still waits."""
        fault: Exception = ConnectionError("the server ended the connection")
        try:
            await self._deliver()
        except (OSError, ValueError) as error:
            fault = error
        for future in self._waiting.values():
            future.set_exception(fault)

    async def _deliver(self) -> None:
        reader = self._wire.reader
        while line := await reader.readline():
            verb, *words = line.split()
            if verb == b"PING":
                self._wire.writer.write(b"PONG\r\n")
            elif verb == b"-ERR":
                raise ConnectionError(line.decode())
            elif verb in {b"MSG", b"HMSG"}:
                sizes = [int(words[-2]), int(words[-1])] if verb == b"HMSG" else [0, int(words[-1])]
                block = await reader.readexactly(sizes[1] + 2)
                number = words[0].rpartition(b".")[2].decode()
                reply = WireReply(_headers(block[: sizes[0]]), block[sizes[0] : -2])
                self._waiting.pop(number).set_result(reply)


@asynccontextmanager
async def a_wire_client(url: str) -> AsyncIterator[WireClient]:
    """Yield a client on a socket of its own."""
    async with a_wire(url) as wire:
        await wire.send(f"SUB {INBOX}.* 1\r\n".encode())
        client = WireClient(wire)
        listening = asyncio.create_task(client.listen())
        try:
            yield client
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)


def header_block(*lines: bytes) -> bytes:
    """Return the block of these ``name: value`` lines."""
    return HEADERS_BEGIN + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


def _headers(block: bytes) -> tuple[tuple[str, str], ...]:
    if not block:
        return ()
    status, *lines = block.decode().split("\r\n")
    assert status.strip() == "NATS/1.0", status
    pairs = (line.partition(": ") for line in lines if line)
    return tuple((name, value) for name, _, value in pairs)


def signed(
    op: str, fields: object, installed: Installed, encoding: Encoding, jti: UUID, *more: bytes
) -> tuple[str, bytes, bytes]:
    """Return subject, header block and body of an honest request, with ``more`` header lines."""
    body, now = encode(fields, encoding), int(time.time())
    claims = Claims(
        iss=RUNNER_KEY.issuer,
        aud=HOST_AUDIENCE,
        iat=now,
        exp=now + 60,
        jti=jti,
        op=op,
        body_sha256=body_sha256(body),
        install_id=installed.install_id,
        tenant_id=installed.tenant_id,
    )
    token = f"{CONTEXT_HEADER}: {sign(claims, RUNNER_KEY)}".encode()
    content_type = f"{CONTENT_TYPE_HEADER}: {encoding.value}".encode()
    return host_subject(op), header_block(token, content_type, *more), body

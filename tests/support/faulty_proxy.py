"""A TCP proxy whose connections can be disturbed: in front of PostgreSQL, or of NATS' routes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import StrEnum
from urllib.parse import urlsplit, urlunsplit

COMMIT = b"COMMIT"
BLOCK_BYTES = 65_536


class Disturbance(StrEnum):
    """What happens to the bytes."""

    NONE = "none"
    FROZEN = "frozen"
    """Connections are accepted; nothing is forwarded, and all of it later."""
    DELAYED = "delayed"
    """Each block arrives ``DELAY_S`` later."""
    LOST_COMMITS = "lost commits"
    """The server commits; the connection ends before its answer arrives."""
    CUT = "cut"
    """Connections end, and new ones end at once."""


DELAY_S = 0.2


class FaultyProxy:
    """Forwards to one server, as ``disturb`` says."""

    def __init__(self, dsn: str) -> None:
        self.answers_lost = 0
        self._dsn = dsn
        self._disturbance = Disturbance.NONE
        self._flows = asyncio.Event()
        self._flows.set()
        self._connections: set[_Connection] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def dsn(self) -> str:
        """Return the server's DSN with the address of the proxy."""
        parts = urlsplit(self._dsn)
        user = parts.netloc.rpartition("@")[0]
        return urlunsplit(parts._replace(netloc=f"{user}@127.0.0.1:{self.port}"))

    @property
    def port(self) -> int:
        """Return the port of 127.0.0.1 that it listens on."""
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def disturb(self, disturbance: Disturbance) -> None:
        """Disturb all connections, present and to come, until this is changed."""
        self._disturbance = disturbance
        if disturbance is Disturbance.FROZEN:
            self._flows.clear()
        else:
            self._flows.set()
        if disturbance is Disturbance.CUT:
            for connection in list(self._connections):
                connection.end()

    def half_open(self) -> int:
        """Cut the server off from all present connections; their clients get no notice.

        What those send from now on is never answered. Returns how many there were.
        """
        for connection in self._connections:
            connection.half_open()
        return len(self._connections)

    async def open(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)

    async def close(self) -> None:
        """End all connections."""
        assert self._server is not None
        self._server.close()
        self._flows.set()
        for connection in list(self._connections):
            connection.end()
        await asyncio.gather(*self._serving, return_exceptions=True)
        await self._server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving = asyncio.create_task(self._serve(reader, writer))
        self._serving.add(serving)
        serving.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        address = urlsplit(self._dsn)
        if self._disturbance is Disturbance.CUT:
            writer.transport.abort()
            return
        try:
            up = await asyncio.open_connection(address.hostname, address.port)
        except OSError:
            writer.transport.abort()
            return
        connection = _Connection(writer, up[1])
        self._connections.add(connection)
        try:
            await asyncio.gather(
                self._to_server(connection, reader), self._to_client(connection, up[0])
            )
        finally:
            connection.end()
            self._connections.discard(connection)

    async def _to_server(self, connection: "_Connection", reader: asyncio.StreamReader) -> None:
        while data := await _received(reader):
            await self._pass()
            if connection.cut_off:
                continue
            if self._disturbance is Disturbance.LOST_COMMITS and COMMIT in data:
                connection.loses_answer = True
            connection.server.write(data)
        connection.end()

    async def _to_client(self, connection: "_Connection", reader: asyncio.StreamReader) -> None:
        while data := await _received(reader):
            await self._pass()
            if connection.loses_answer:
                self.answers_lost += 1
                break
            connection.client.write(data)
        if not connection.cut_off:
            connection.end()

    async def _pass(self) -> None:
        await self._flows.wait()
        if self._disturbance is Disturbance.DELAYED:
            await asyncio.sleep(DELAY_S)


class _Connection:
    """Both ends of one."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.client = client
        self.server = server
        self.cut_off = False
        self.loses_answer = False

    def half_open(self) -> None:
        self.cut_off = True
        self.server.transport.abort()

    def end(self) -> None:
        self.client.transport.abort()
        self.server.transport.abort()


async def _received(reader: asyncio.StreamReader) -> bytes:
    """Return the next block; nothing once the connection has ended in any way."""
    try:
        return await reader.read(BLOCK_BYTES)
    except OSError:
        return b""


@asynccontextmanager
async def faulty_proxy(dsn: str) -> AsyncIterator[FaultyProxy]:
    """Yield a proxy in front of the server of ``dsn``, undisturbed at first."""
    proxy = FaultyProxy(dsn)
    await proxy.open()
    try:
        yield proxy
    finally:
        await proxy.close()

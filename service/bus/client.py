"""The NATS client, hardened against malformed messages, with a flush that keeps the order."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from enum import StrEnum
from itertools import chain
from typing import Any

import nats.errors
from nats.aio.client import PING_PROTO, Client, Srv
from nats.aio.msg import Msg
from nats.aio.transport import TcpTransport

_PLAIN_HEADERS = b"NATS/1.0\r\n"
_WEB = {"ws", "wss"}


class BusEvent(StrEnum):
    """What can happen to a connection; a closed set, so that it can be a metric label."""

    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    RECONNECTED = "reconnected"
    CLOSED = "closed"
    DENIED = "denied"
    SLOW_CONSUMER = "slow_consumer"
    MALFORMED_MESSAGE = "malformed_message"
    ERROR = "error"


Observe = Callable[[BusEvent], None]
OnMessage = Callable[[bytes, bytes | None, bytes], None]
"""Receives a message's subject, block of headers (None without any) and body. Raises nothing."""


def ignore(_event: BusEvent) -> None:
    """Count nothing."""


class _Wire(TcpTransport):
    """Drops what is written to a lost connection, whose loss the reader notices.

    The standard library's event loop does the same, and the client relies on it. uvloop raises
    RuntimeError instead, which silently ends the client's flusher and escapes from publish and
    close.
    """

    def __bool__(self) -> bool:
        return True  # else the client puts its own in its place

    def write(self, payload: bytes) -> None:
        with suppress(RuntimeError):
            super().write(payload)  # type: ignore[no-untyped-call]  # the library's

    def writelines(self, payload: list[bytes]) -> None:
        with suppress(RuntimeError):
            super().writelines(payload)  # type: ignore[no-untyped-call]  # the library's


class NatsConnection(Client):
    """A NATS client that a malformed message cannot deafen, and whose flush means what it says.

    The library decodes an inline status and a reply subject without a guard: bytes that are not
    UTF-8 end its read loop, and the process is deaf until the pings run out. Its ping overtakes
    what still waits to be written, so flush returned before the server knew a subscription, and a
    drain could lose messages. And it takes only the reply to a ping as proof that the connection is
    alive, although any message is. Subclassed because the library offers no other place to fix
    this.

    ``subscribe_raw``, ``publish_raw`` and ``publish_all`` are for thousands of messages a second:
    queues, tasks and checks of each subject and header are most of what a message costs.
    """

    def __init__(self, observe: Observe = ignore) -> None:
        super().__init__()
        self._observe = observe
        self._raw_subscriptions: dict[int, OnMessage] = {}

    async def subscribe_raw(self, subject: str, on_message: OnMessage) -> None:
        """Subscribe for the life of the client; messages go to ``on_message`` as they are read."""
        subscription = await self.subscribe(subject, cb=_ignore_message)
        self._raw_subscriptions[subscription._id] = on_message  # noqa: SLF001 - no public accessor

    async def publish_raw(self, subject: str, reply: str, headers: bytes, body: bytes) -> None:
        """Publish with a block of headers as ``write_headers`` makes it.

        Raises what ``publish`` raises; the headers count towards the server's message limit.
        """
        size = len(headers) + len(body)
        verb, sizes = ("HPUB", f"{len(headers)} {size}") if headers else ("PUB", f"{size}")
        head = f"{verb} {subject} {reply} {sizes}\r\n".encode()
        await self._write([(head, headers, body, b"\r\n")], size, size)

    async def publish_all(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Publish bodies to subjects, in order and at once. Raises what ``publish`` raises."""
        sizes = [len(body) for _, body in messages]
        written = [
            (f"PUB {subject} {size}\r\n".encode(), body, b"\r\n")
            for (subject, body), size in zip(messages, sizes, strict=True)
        ]
        if written:
            await self._write(written, sum(sizes), max(sizes))

    async def _write(self, commands: Sequence[tuple[bytes, ...]], size: int, largest: int) -> None:
        if self.is_closed:
            raise nats.errors.ConnectionClosedError
        if self.is_draining_pubs:
            raise nats.errors.ConnectionDrainingError
        if not self.is_connected and size + self._pending_data_size > self._max_pending_size:
            raise nats.errors.OutboundBufferLimitError
        if largest > self.max_payload:
            raise nats.errors.MaxPayloadError
        self.stats["out_msgs"] += len(commands)
        self.stats["out_bytes"] += size
        await self._send_command(b"".join(chain.from_iterable(commands)))
        if self._flush_queue is not None and self._flush_queue.empty():
            await self._flush_pending()

    async def _process_msg(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes | None
    ) -> None:
        # In a flood the reply to a ping queues behind other messages, which prove life as well.
        self._pings_outstanding = 0
        on_message = self._raw_subscriptions.get(sid)
        if on_message is None:
            await super()._process_msg(sid, subject, reply, data, headers)  # type: ignore[arg-type]  # it takes None
            return
        self.stats["in_msgs"] += 1
        self.stats["in_bytes"] += len(data)
        on_message(subject, headers, data)

    async def _connect_to_server(self, s: Srv) -> None:
        if self._transport is None and s.uri.scheme not in _WEB:
            self._transport = _Wire()  # type: ignore[no-untyped-call]  # the library's
        await super()._connect_to_server(s)

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        # The library would send the password in clear text to a server that says nothing of TLS.
        server = self._current_server
        if initial_connection and server is not None and server.uri.scheme == "tls":
            if not (info.get("tls_required") or info.get("tls_available")):
                raise nats.errors.Error("the server offers no TLS")
            info["tls_required"] = True
        await super()._process_info(info, initial_connection)

    async def _close(self, status: int, do_cbs: bool = True) -> None:
        if not self.is_connected:
            # The library would write what is pending to the lost connection.
            self._pending, self._pending_data_size = [], 0
        await super()._close(status, do_cbs)

    async def _send_ping(self, future: asyncio.Future[Any] | None = None) -> None:
        self._pongs.append(future or asyncio.get_running_loop().create_future())
        await self._send_command(PING_PROTO)  # behind what waits, not past it
        await self._flush_pending()

    async def _process_headers(self, headers: bytes | None) -> dict[str, str] | None:
        if not headers:
            return None
        if headers.startswith(_PLAIN_HEADERS):
            return read_headers(headers)
        try:
            return await super()._process_headers(headers)  # an inline status, from the server
        except (UnicodeDecodeError, IndexError):
            # Delivered as a message without headers, so that it is answered like any other.
            self._observe(BusEvent.MALFORMED_MESSAGE)
            return None

    def _build_message(self, *parts: Any) -> Any:  # noqa: ANN401 - the library's own are untyped
        try:
            return super()._build_message(*parts)
        except UnicodeDecodeError:
            # Its reply subject is not valid text; None makes the library drop the message.
            self._observe(BusEvent.MALFORMED_MESSAGE)
            return None


async def _ignore_message(_message: Msg) -> None:
    """Do nothing: the library needs a callback, and raw subscriptions never get to it."""


def write_headers(headers: Mapping[str, str]) -> bytes:
    """Return the block for these headers, empty without any.

    Raises ValueError where one would be several lines.
    """
    if not headers:
        return b""
    lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
    text = "".join(lines)
    if not len(lines) == text.count("\r") == text.count("\n"):
        raise ValueError("a header's name or value has a line break")
    return b"".join((_PLAIN_HEADERS, text.encode(), b"\r\n"))


def read_headers(block: bytes) -> dict[str, str] | None:
    """Return the headers of a block ``NATS/1.0 CRLF (name: value CRLF)* CRLF``; never raises.

    Of several with one name the last counts; lines without a colon say nothing; bytes that are not
    UTF-8 become U+FFFD. Four times as fast as the library's, whose loop over the characters of
    every name is a fifth of what a request costs at this edge.
    """
    headers = {}
    for line in block[len(_PLAIN_HEADERS) :].decode("utf-8", "replace").split("\r\n"):
        name, colon, value = line.partition(":")
        if colon:
            headers[name.strip(" \t")] = value.strip(" \t")
    return headers or None

"""Requests over the bus whose replies come to one subscription, with one timer for all."""

import asyncio
from secrets import token_hex

import nats.errors
from msgspec import Struct

from service.bus.client import NatsConnection, read_headers

_NO_RESPONDERS = b"NATS/1.0 503"


class InboxReply(Struct, frozen=True):
    """A reply as it came; ``headers`` is the block of them, unread."""

    body: bytes
    headers: bytes | None

    def header(self, name: str) -> str | None:
        """Return the value of a header, None where it is absent."""
        return None if self.headers is None else (read_headers(self.headers) or {}).get(name)


class Inbox:
    """Sends requests, and matches replies to them by the last token of their subject."""

    def __init__(self, client: NatsConnection) -> None:
        self._client = client
        self._prefix = ""
        self._waiting: dict[bytes, tuple[float, asyncio.Future[InboxReply]]] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def ask(self, subject: str, headers: bytes, body: bytes, timeout_s: float) -> InboxReply:
        """Send a request with a block of headers; return the first reply.

        Raises NoRespondersError, TimeoutError, and what the connection's ``publish_raw`` raises.
        """
        if not self._prefix:
            await self._open()
        loop = asyncio.get_running_loop()
        token, deadline = token_hex(12), loop.time() + timeout_s
        future: asyncio.Future[InboxReply] = loop.create_future()
        key = token.encode()
        self._waiting[key] = deadline, future
        if self._timer is None or deadline < self._timer.when():
            self._watch(deadline)
        try:
            await self._client.publish_raw(subject, self._prefix + token, headers, body)
            return await future
        finally:
            del self._waiting[key], future  # an exception in it would hold this frame: a cycle

    async def _open(self) -> None:
        # Set first: a request made while this waits is written behind the subscription.
        self._prefix = self._client.new_inbox() + "."
        try:
            await self._client.subscribe_raw(self._prefix + "*", self._on_reply)
        except BaseException:
            self._prefix = ""
            raise

    def _on_reply(self, subject: bytes, headers: bytes | None, body: bytes) -> None:
        _, future = self._waiting.get(subject[len(self._prefix) :], (0, None))
        if future is None or future.done():
            return  # too late, or never requested
        if not body and headers is not None and headers.startswith(_NO_RESPONDERS):
            future.set_exception(nats.errors.NoRespondersError())
        else:
            future.set_result(InboxReply(body, headers))

    def _watch(self, deadline: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(deadline, self._expire)

    def _expire(self) -> None:
        """Time out the requests whose deadline has passed, and watch the next deadline."""
        self._timer = None
        now = asyncio.get_running_loop().time()
        later = []
        for deadline, future in self._waiting.values():
            if deadline > now:
                later.append(deadline)
            elif not future.done():
                future.set_exception(TimeoutError())
        if later:
            self._watch(min(later))

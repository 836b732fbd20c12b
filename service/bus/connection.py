"""The NATS connection: defaults that survive outages, and ways to find out whether it works.

The client library keeps silent about a denied subscription, and gives up permanently after a few
minutes of outage. Neither happens here.
"""

import asyncio
import random
import ssl
import time
from collections.abc import Mapping, Sequence
from logging import getLogger
from typing import Any

import nats.errors
from msgspec import Struct
from nats.aio.client import RawCredentials, Server
from nats.aio.subscription import Subscription

from contracts.shared.credentials import describe_identity
from service.bus.client import BusEvent, NatsConnection, Observe, ignore, write_headers

log = getLogger(__name__)

PROBE_TIMEOUT_S = 2.0
DRAIN_TIMEOUT_S = 5.0
CLOSE_TIMEOUT_S = 2.0
CONFIRM_TIMEOUT_S, CONFIRM_ANSWER_S, CONFIRM_PAUSE_S = 15.0, 3, 0.1


class BusSettings(Struct, frozen=True):
    """Where to connect, and with which identity; times in seconds.

    ``inbox_prefix`` must be the one that the server's permissions give to ``user``.
    """

    servers: Sequence[str] = ("nats://127.0.0.1:4222",)
    name: str = "ext-scheduler"
    user: str | None = None
    password: str | None = None
    token: str | None = None
    creds: str | None = None
    nkey_seed: str | None = None
    inbox_prefix: str = "_INBOX_service"
    tls: ssl.SSLContext | None = None
    connect_timeout: float = 15.0
    reconnect_wait: float = 0.1
    reconnect_wait_limit: float = 5.0
    ping_interval: float = 3.0
    ping_limit: int = 2


class BusUnavailableError(Exception):
    """The bus cannot be used; the message is one line for a person."""


class SubscriptionsDeniedError(BusUnavailableError):
    """The server refused subscriptions that the service cannot do without."""


class Bus:
    """A connection and what is known about it.

    ``closed`` is set when the connection has ended without ``close`` having been called. It does
    not return, so the process should end and report ``closed_reason``. ``denials`` are the
    server's refusals of subscriptions since the last (re)connect: while there are any, requests
    may not arrive.
    """

    def __init__(self, settings: BusSettings, observe: Observe = ignore) -> None:
        self.client = NatsConnection(observe)
        self.closed = asyncio.Event()
        self.closed_reason = ""
        self.denials: list[str] = []
        self._settings = settings
        self._observe = observe
        self._connect_by = time.monotonic() + settings.connect_timeout
        self._started = False
        self._closing = False

    async def open(self) -> None:
        """Connect, waiting up to ``connect_timeout`` for a server to come up.

        Raises BusUnavailableError, with the reason, when none does or the credentials are refused.
        """
        settings = self._settings
        try:
            async with asyncio.timeout(settings.connect_timeout):
                await self._connect()
        except TimeoutError:
            reason = self.client.last_error or "no answer"
            raise BusUnavailableError(f"no NATS server at {_names(settings)}: {reason}") from None
        self._started = True
        self._observe(BusEvent.CONNECTED)
        log.info("connected to NATS", extra={"server": _names(settings)})

    async def _connect(self) -> None:
        settings = self._settings
        await self.client.connect(
            servers=list(settings.servers),
            name=settings.name,
            user=settings.user,
            password=settings.password,
            token=settings.token,
            user_credentials=RawCredentials(settings.creds) if settings.creds else None,
            nkeys_seed_str=settings.nkey_seed,
            tls=settings.tls,
            inbox_prefix=settings.inbox_prefix,
            max_reconnect_attempts=-1,
            reconnect_time_wait=settings.reconnect_wait,  # type: ignore[arg-type]  # is slept
            reconnect_to_server_handler=self._next_server,
            ping_interval=settings.ping_interval,  # type: ignore[arg-type]  # is slept
            max_outstanding_pings=settings.ping_limit,
            error_cb=self._on_error,
            disconnected_cb=self._on_disconnected,
            reconnected_cb=self._on_reconnected,
            closed_cb=self._on_closed,
        )

    def _next_server(
        self, servers: list[Server], _info: dict[str, Any]
    ) -> tuple[Server | None, float]:
        """Return the server with the fewest failures, after a wait that doubles with them."""
        server = min(servers, key=lambda each: each.reconnects)
        if server.reconnects == 0:
            # Spread: a fleet that lost one server should not overwhelm the next.
            return server, random.uniform(0, self._settings.reconnect_wait)  # noqa: S311 - jitter
        return server, backoff(server.reconnects, self._settings)

    async def _on_error(self, error: Exception) -> None:
        text = str(error) or type(error).__name__
        lowered = text.lower()
        if "permissions violation for subscription" in lowered:
            self.denials.append(text.removeprefix("nats: "))
            self._observe(BusEvent.DENIED)
        elif isinstance(error, nats.errors.SlowConsumerError):
            self._observe(BusEvent.SLOW_CONSUMER)
        else:
            self._observe(BusEvent.ERROR)
        if not self._started and "authorization violation" in lowered:
            raise BusUnavailableError(
                f"NATS at {_names(self._settings)} refused {_identity(self._settings)}"
            )
        log.warning("NATS: %s", text)
        if not self._started and time.monotonic() > self._connect_by:
            raise TimeoutError  # the library's wait_for has lost the cancellation of ``open``

    async def _on_disconnected(self) -> None:
        self.denials.clear()  # the subscriptions are made again, and checked again
        if not self._closing:
            self._observe(BusEvent.DISCONNECTED)
            log.warning("NATS connection lost")

    async def _on_reconnected(self) -> None:
        self._observe(BusEvent.RECONNECTED)
        log.warning("NATS connection is back")

    async def _on_closed(self) -> None:
        self._observe(BusEvent.CLOSED)
        if not self._closing:
            reason = self.client.last_error or "the server ended it"
            self.closed_reason = f"the NATS connection is closed permanently: {reason}"
            log.error(self.closed_reason)
            self.closed.set()

    async def send(self, subject: str, body: bytes, headers: Mapping[str, str] | None) -> bool:
        """Publish a message; during an outage up to 2 MiB are kept and sent later.

        Return whether it was accepted: all that a caller can do about a refusal is count it.
        """
        try:
            await self.client.publish_raw(subject, "", write_headers(headers or {}), body)
        except (nats.errors.Error, OSError, ValueError) as error:
            log.warning("message not sent: %r", error)
            return False
        return True

    async def drain(self, subscriptions: Sequence[Subscription]) -> None:
        """Unsubscribe once everything that the server has sent has reached its callback.

        A server that does not answer is not waited for: nothing comes from it any more.
        """
        drains = asyncio.gather(
            *(subscription.drain() for subscription in subscriptions),  # type: ignore[no-untyped-call]  # the library's
            return_exceptions=True,
        )
        try:
            async with asyncio.timeout(DRAIN_TIMEOUT_S):
                errors = await drains
        except TimeoutError:
            log.warning("subscriptions not drained: NATS does not answer")
            return
        for error in errors:
            if isinstance(error, BaseException):
                log.warning("subscription not drained: %r", error)

    async def flush(self) -> None:
        """Wait until the server has everything sent so far; a failure is only logged."""
        if self.client.is_connected:
            try:
                await self.client.flush(timeout=2)
            except (nats.errors.Error, OSError) as error:
                log.warning("last messages perhaps not sent: %r", error)

    async def close(self) -> None:
        """Send what is pending, and end the connection; nothing is reported as a loss.

        The library closes by writing what is left, and by waiting until it is written, without a
        limit: with a server that is gone or frozen there is nothing to wait for.
        """
        self._closing = True
        await self.flush()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self.client.close()
        except (nats.errors.Error, OSError) as error:
            log.warning("NATS connection not closed well: %r", error)


def backoff(failures: int, settings: BusSettings) -> float:
    """Return the seconds to wait after failures: doubling up to a limit, the upper half random."""
    wait = min(settings.reconnect_wait * 2.0 ** min(failures, 16), settings.reconnect_wait_limit)
    return wait * random.uniform(0.5, 1.0)  # noqa: S311 - jitter needs no secrecy


async def connect(settings: BusSettings, observe: Observe = ignore) -> Bus:
    """Open a connection. Raises BusUnavailableError."""
    bus = Bus(settings, observe)
    try:
        await bus.open()
    except BaseException:
        await bus.close()
        raise
    return bus


async def confirm_subscriptions(bus: Bus) -> None:
    """Wait until the server knows all subscriptions made so far.

    Raises SubscriptionsDeniedError naming those it refused: the library itself never says so; and
    BusUnavailableError when there is no answer. After an outage the server is asked again:
    the client repeats all subscriptions when it reconnects.
    """
    try:
        async with asyncio.timeout(CONFIRM_TIMEOUT_S):
            while reason := await _unconfirmed(bus.client):
                if bus.client.is_closed:
                    break
                await asyncio.sleep(CONFIRM_PAUSE_S)
    except TimeoutError:
        reason = str(bus.client.last_error or "no answer")
    if reason:
        raise BusUnavailableError(f"NATS does not confirm subscriptions: {reason}")
    if bus.denials:
        raise SubscriptionsDeniedError(
            f"NATS user {bus.client.options['user']!r} may not subscribe: " + "; ".join(bus.denials)
        )


async def _unconfirmed(client: NatsConnection) -> str:
    """Return why the server may not know all subscriptions; empty if it does."""
    try:
        await client.flush(CONFIRM_ANSWER_S)
    except (nats.errors.Error, OSError) as error:
        return str(error) or type(error).__name__
    # Without a connection the library's flush waits for nothing.
    return "" if client.is_connected else "not connected"


async def probe(bus: Bus, subject: str | None = None, wait: float = PROBE_TIMEOUT_S) -> float:
    """Return the seconds that a message took through the bus and back to this process.

    With ``subject``, a request answered by this very process (its own ``$SRV.PING.<name>.<id>``);
    without, to the server and back: not every user may send to its own inbox. Raises
    BusUnavailableError. A server that froze looks connected for as long as the pings last; this
    does not.
    """
    if bus.denials:
        raise BusUnavailableError("subscriptions denied: " + "; ".join(bus.denials))
    if not bus.client.is_connected:
        raise BusUnavailableError("not connected to NATS")
    began = time.monotonic()
    try:
        async with asyncio.timeout(wait):
            if subject is None:
                await bus.client.flush()
            else:
                await bus.client.request(subject, b"", wait)
    except (TimeoutError, nats.errors.Error, OSError) as error:
        raise BusUnavailableError(f"no way through NATS: {error!r}") from error
    return time.monotonic() - began


def _identity(settings: BusSettings) -> str:
    return describe_identity(settings.user, settings.token or settings.creds or settings.nkey_seed)


def _names(settings: BusSettings) -> str:
    """Return the servers without their user information, which may hold a password."""
    return ", ".join(server.rpartition("@")[2] for server in settings.servers)

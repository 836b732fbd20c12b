"""Publishes the outbox: committed events of every process, at least once."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import lru_cache, partial
from logging import getLogger
from typing import Any, cast
from uuid import UUID

import asyncpg
import msgspec
import nats.errors
from msgspec import UNSET, Struct

from contracts.events import Event, EventType
from contracts.subjects import event_subject
from contracts.times import wire_time
from service.bus.client import NatsConnection
from service.rules.outcomes import sanitise_error
from service.rules.webhooks import NOTABLE
from service.runtime.logs import fields
from service.storage.engine import clock
from service.storage.engine.acquire import acquired
from service.storage.engine.connection import Connection
from service.storage.engine.errors import is_refusal, is_unavailable
from service.storage.records import outbox, webhook_deliveries
from service.storage.records.outbox import PendingEvent
from service.storage.records.webhook_deliveries import NewDelivery

log = getLogger(__name__)


class OutboxPublisherSettings(Struct, frozen=True):
    """``batch`` events per transaction; times in seconds.

    What is committed within ``gather_s`` of the first event is published with it: a transaction
    for each change would cost as much as the change.
    """

    batch: int = 500
    poll_s: float = 1.5
    gather_s: float = 0.02
    flush_timeout_s: float = 5.0
    acquire_timeout_s: float = 5.0
    tenants: int = 1000
    """How many tenants' events are looked at, on a database of several nodes."""


NodesOf = Callable[[Connection, Sequence[str]], Awaitable[Mapping[int, list[str]]]]
"""Returns tenants by the database node that their rows are on."""


class OutboxPublisher:
    """Publishes the events in the outbox, woken by ``wake`` after a commit, else by polling."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        client: NatsConnection,
        settings: OutboxPublisherSettings | None = None,
        nodes_of: NodesOf | None = None,
    ) -> None:
        """With ``nodes_of``, on a database of several nodes, publish the events of each apart."""
        self._pool = pool
        self._client = client
        self._settings = settings or OutboxPublisherSettings()
        self._nodes_of = nodes_of
        self._committed = asyncio.Event()
        self._unremovable: set[UUID] = set()

    def wake(self) -> None:
        """Publish without waiting for the next poll: there are new events."""
        self._committed.set()

    async def run(self, stopping: asyncio.Event) -> None:
        """Publish until ``stopping`` is set, and once more then. Continues after outages."""
        stop_requested = asyncio.create_task(stopping.wait())
        try:
            while not stopping.is_set():
                self._committed.clear()
                if not await self._drain():
                    await self._pause(stop_requested)
                    await asyncio.wait({stop_requested}, timeout=self._settings.gather_s)
            await self._drain()
        finally:
            stop_requested.cancel()

    async def _drain(self) -> bool:
        """Publish a batch; True when there may be more at once."""
        try:
            return await self.publish_batch() >= self._settings.batch
        except Exception as error:
            if not is_unavailable(error) and not isinstance(error, nats.errors.Error):
                raise
            log.warning("publishing deferred: %r", error)
            return False

    async def _pause(self, stop_requested: asyncio.Task[bool]) -> None:
        committed = asyncio.create_task(self._committed.wait())
        try:
            await asyncio.wait(
                {committed, stop_requested},
                timeout=self._settings.poll_s,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            committed.cancel()

    async def publish_batch(self) -> int:
        """Publish the oldest events and delete them; return how many.

        On several nodes: those of each node whose events no other process is publishing. They are
        deleted once the server has confirmed everything sent so far, together with those that
        cannot be encoded, which would block all others forever. Raises what NATS or the database
        raise; the events are kept then, and perhaps published again.
        """
        if not self._client.is_connected:
            return 0
        batch = self._settings.batch
        if self._nodes_of is None:
            return await self._publish_taken(partial(outbox.take, limit=batch))
        async with self._connection() as connection:
            tenants = await outbox.waiting_tenants(connection, self._settings.tenants)
            nodes = await self._nodes_of(connection, tenants)
        published = 0
        # Each process begins elsewhere, so that they do not meet at every node.
        for node, members in random.sample(sorted(nodes.items()), len(nodes)):
            take = partial(outbox.take_of_node, limit=batch, node=node, tenant_ids=members)
            published += await self._publish_taken(take)
        return published

    def _connection(self) -> AbstractAsyncContextManager[Connection]:
        return acquired(self._pool, self._settings.acquire_timeout_s)

    async def _publish_taken(
        self, take: Callable[[Connection], Awaitable[list[PendingEvent]]]
    ) -> int:
        async with self._connection() as connection, connection.transaction():
            pending = await take(connection)
            if pending:
                await self._publish(pending)
                await _hand_over(connection, pending)
                await self._remove(connection, pending)
        return len(pending)

    async def _remove(self, connection: Connection, published: list[PendingEvent]) -> None:
        """Remove events; one that the database refuses to remove stays, and is not sent again."""
        try:
            async with connection.transaction():
                await outbox.remove(connection, published)
        except asyncpg.PostgresError as error:
            if not is_refusal(error):
                raise
            if len(published) > 1:
                for event in published:
                    await self._remove(connection, [event])
                return
            log.warning("event %s cannot be removed: %r", published[0].id, error)
            self._unremovable.add(published[0].id)

    async def _publish(self, pending: list[PendingEvent]) -> None:
        reconnects = self._client.stats["reconnects"]
        messages = [
            message
            for event in pending
            if event.id not in self._unremovable
            and (message := _message(event, self._client.max_payload))
        ]
        await self._client.publish_all(messages)
        await self._client.flush(timeout=self._settings.flush_timeout_s)  # type: ignore[arg-type]  # the library declares int
        if self._client.stats["reconnects"] != reconnects:
            # The flush was confirmed by another connection than the one the events were sent on.
            raise nats.errors.ConnectionReconnectingError


async def _hand_over(connection: Connection, pending: list[PendingEvent]) -> None:
    """Hand over what goes to webhooks: it leaves the outbox in the same transaction."""
    notable = [event for event in pending if event.type in NOTABLE]
    if not notable:
        return
    try:
        async with connection.transaction():
            deliveries = [
                NewDelivery(event.tenant_id, event.id, event.install_id, body(event).decode())
                for event in notable
            ]
            await webhook_deliveries.hand_over(connection, deliveries, await clock.read(connection))
    except (asyncpg.PostgresError, ValueError, msgspec.MsgspecError, RecursionError) as error:
        if isinstance(error, asyncpg.PostgresError) and not is_refusal(error):
            raise
        log.error("events not handed over to webhooks: %r", error)  # noqa: TRY400 - the reason says it all


def _message(event: PendingEvent, max_bytes: int) -> tuple[str, bytes] | None:
    """Return subject and body; None, which is logged, where the event cannot be encoded."""
    try:
        encoded = body(event)
        if len(encoded) > max_bytes:
            raise ValueError(f"{len(encoded)} bytes, the server takes {max_bytes}")  # noqa: TRY301 - as what cannot be encoded
        return _subject(event.tenant_id, str(event.install_id), event.type), encoded
    except (ValueError, msgspec.MsgspecError, RecursionError) as error:
        log_fields = fields(event=event.id, type=event.type, install=event.install_id)
        log.error("event dropped, it can never be published: %s", error, extra=log_fields)  # noqa: TRY400 - the reason says it all
        return None


def body(event: PendingEvent) -> bytes:
    """Return the event as JSON, of any type: a newer release may have written an unknown one."""
    return msgspec.json.encode(
        Event(
            id=str(event.id),
            type=cast("EventType", event.type),
            tenant_id=sanitise_error(event.tenant_id),
            install_id=str(event.install_id),
            schedule_id=UNSET if event.schedule_id is None else str(event.schedule_id),
            run_id=UNSET if event.run_id is None else str(event.run_id),
            at=_time(event.at),
            data=cast("dict[str, Any]", msgspec.Raw(event.data.encode())),  # is sent unchanged
        )
    )


# The events of a batch are of few installs and instants.
_subject = lru_cache(maxsize=4096)(event_subject)
_time = lru_cache(maxsize=1024)(wire_time)

"""Delivers events to the webhooks that the operator configured, at least once each."""

import asyncio
import random
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from logging import getLogger
from time import time

import asyncpg
from aiohttp import ClientError, ClientSession, ClientTimeout, DummyCookieJar

from service.rules.webhooks import GIVE_UP_AFTER, Webhook, retry_delay, signed_headers
from service.runtime.logs import fields
from service.runtime.metrics import Metrics
from service.storage.engine import clock
from service.storage.engine.acquire import acquired
from service.storage.engine.errors import is_unavailable
from service.storage.records import webhook_deliveries
from service.storage.records.webhook_deliveries import Delivery

log = getLogger(__name__)

BATCH = 16
"""Deliveries at once."""
TIMEOUT_S = 10.0
"""From connecting to the status of the answer, whose body is not read."""
LEASE = timedelta(seconds=60)
"""Longer than a batch takes, so that no other worker sends what is being sent."""
POLL_S = 2.0
SERVED_EVERY_S = 60.0


class WebhookSender:
    """Takes deliveries from the database and posts each; any number may run."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        webhooks: Sequence[Webhook],
        metrics: Metrics,
        now: clock.Clock = clock.read,
        *,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._pool = pool
        self._webhooks = {webhook.tenant: webhook for webhook in webhooks}
        self._metrics = metrics
        self._now = now
        self._timeout = ClientTimeout(total=timeout_s)
        self._served_until = 0.0
        self._random = random.Random()  # noqa: S311 - jitter needs no secrecy

    async def run(self, stopping: asyncio.Event) -> None:
        """Deliver until ``stopping`` is set; continue after outages."""
        while not stopping.is_set():
            try:
                more = await self.deliver() == BATCH
            except Exception as error:
                if not is_unavailable(error):
                    raise
                log.warning("webhooks deferred: %r", error)
                more = False
            if not more:
                with suppress(TimeoutError):
                    await asyncio.wait_for(stopping.wait(), POLL_S)

    async def deliver(self) -> int:
        """Take a batch of due deliveries and send it; return how many there were."""
        async with acquired(self._pool) as connection:
            now = await self._now(connection)
            if time() > self._served_until:
                await webhook_deliveries.served(connection, now)
                self._served_until = time() + SERVED_EVERY_S
            taken = await webhook_deliveries.take(connection, now, now + LEASE, BATCH)
        if not taken:
            return 0
        # No connection is held while receivers are waited for.
        async with ClientSession(cookie_jar=DummyCookieJar(), timeout=self._timeout) as session:
            errors = await asyncio.gather(*(self._send(session, each) for each in taken))
        done, failed = self._outcomes(taken, errors, now)
        async with acquired(self._pool) as connection:
            await webhook_deliveries.remove(connection, done)
            await webhook_deliveries.postpone(connection, failed)
        return len(taken)

    async def _send(self, session: ClientSession, delivery: Delivery) -> str | None:
        """Post an event; return what went wrong, None for a success or where nobody wants it."""
        webhook = self._webhooks.get(delivery.tenant_id) or self._webhooks.get(None)
        if webhook is None:
            return None
        body = delivery.body.encode()
        headers = signed_headers(webhook.secret, str(delivery.id), int(time()), body)
        try:
            # A redirect could lead to where the operator did not send it.
            async with session.post(
                webhook.url, data=body, headers=headers, allow_redirects=False
            ) as response:
                return None if 200 <= response.status < 300 else f"status {response.status}"
        except TimeoutError:
            return "no answer in time"
        except (ClientError, OSError, ValueError) as error:
            return type(error).__name__

    def _outcomes(
        self, taken: Sequence[Delivery], errors: Sequence[str | None], now: datetime
    ) -> tuple[list[Delivery], list[tuple[Delivery, datetime]]]:
        """Return the finished deliveries, and those to try again with the time to do so."""
        done: list[Delivery] = []
        failed: list[tuple[Delivery, datetime]] = []
        for delivery, error in zip(taken, errors, strict=True):
            about = fields(event=delivery.id, tenant=delivery.tenant_id, attempt=delivery.attempts)
            if error is None:
                outcome = "delivered"
                done.append(delivery)
            elif now - delivery.created_at > GIVE_UP_AFTER:
                outcome = "dropped"
                done.append(delivery)
                log.error("webhook given up: %s", error, extra=about)
            else:
                outcome = "failed"
                retry_at = now + retry_delay(delivery.attempts, self._random.random())
                failed.append((delivery, retry_at))
                log.warning("webhook failed: %s", error, extra=about)
            self._metrics.webhook_deliveries.labels(outcome).inc()
        return done, failed

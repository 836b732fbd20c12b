"""Events on their way to webhooks: handed over from the outbox, taken, tried again, removed."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from service.storage.engine.connection import Connection

MAX_PENDING = 10_000
"""The most deliveries that may wait: a receiver that is away must not fill a disk."""
MAX_OF_TENANT = 1_000
"""The most of one tenant that may wait: its receiver must not use up everybody's room."""

# Only if a worker with webhooks was up within a day: otherwise nobody would ever take them.
HAND_OVER = """
INSERT INTO ext_scheduler.webhook_deliveries
  (tenant_id, id, install_id, body, created_at, next_at)
SELECT e.tenant_id, e.id, e.install_id, e.body, $5::timestamptz, $5
FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::text[]) AS e (tenant_id, id, install_id, body)
WHERE EXISTS (SELECT FROM ext_scheduler.facts f
    WHERE f.key = 'webhooks_served_at' AND CASE WHEN f.key = 'webhooks_served_at'
      THEN f.value::timestamptz > $5 - interval '1 day' END)
  AND (SELECT count(*) FROM (SELECT FROM ext_scheduler.webhook_deliveries LIMIT $6::integer) p) < $6
  AND (SELECT count(*) FROM (SELECT FROM ext_scheduler.webhook_deliveries o
    WHERE o.tenant_id = e.tenant_id LIMIT $7::integer) p) < $7
ON CONFLICT (tenant_id, id) DO NOTHING
"""

SERVED = """
INSERT INTO ext_scheduler.facts (key, value)
VALUES ('webhooks_served_at', $1::timestamptz::text)
ON CONFLICT (key) DO UPDATE SET value = excluded.value
"""

# The lease is the time of the next attempt: if this worker dies before, another one takes over. The
# first of each tenant come before the second of any: a receiver that never answers delays its own.
TAKE = """
UPDATE ext_scheduler.webhook_deliveries d
SET attempts = d.attempts + 1, next_at = $2::timestamptz
FROM (SELECT w.tenant_id, w.id
  FROM (SELECT tenant_id, id, next_at,
      row_number() OVER (PARTITION BY tenant_id ORDER BY next_at) AS rank
    FROM ext_scheduler.webhook_deliveries WHERE next_at <= $1::timestamptz) ranked
  JOIN ext_scheduler.webhook_deliveries w USING (tenant_id, id)
  WHERE w.next_at <= $1
  ORDER BY ranked.rank, ranked.next_at LIMIT $3::integer
  FOR UPDATE OF w SKIP LOCKED) due
WHERE d.tenant_id = due.tenant_id AND d.id = due.id
RETURNING d.tenant_id, d.id, d.body, d.created_at, d.attempts
"""

REMOVE = """
DELETE FROM ext_scheduler.webhook_deliveries d
USING unnest($1::text[], $2::uuid[]) AS r (tenant_id, id)
WHERE d.tenant_id = r.tenant_id AND d.id = r.id
"""

POSTPONE = """
UPDATE ext_scheduler.webhook_deliveries d SET next_at = p.next_at
FROM unnest($1::text[], $2::uuid[], $3::timestamptz[]) AS p (tenant_id, id, next_at)
WHERE d.tenant_id = p.tenant_id AND d.id = p.id
"""


class NewDelivery(Struct, frozen=True):
    """An event as it is sent: ``body`` is its JSON."""

    tenant_id: str
    id: UUID
    install_id: UUID
    body: str


class Delivery(Struct, frozen=True):
    """A delivery that was taken; ``attempts`` counts the one that now begins."""

    tenant_id: str
    id: UUID
    body: str
    created_at: datetime
    attempts: int


async def hand_over(
    connection: Connection, deliveries: Sequence[NewDelivery], now: datetime
) -> None:
    """Write deliveries, in the transaction that removes their events from the outbox."""
    await connection.execute(
        HAND_OVER,
        [delivery.tenant_id for delivery in deliveries],
        [delivery.id for delivery in deliveries],
        [delivery.install_id for delivery in deliveries],
        [delivery.body for delivery in deliveries],
        now,
        MAX_PENDING,
        MAX_OF_TENANT,
    )


async def served(connection: Connection, now: datetime) -> None:
    """Note that a worker delivers."""
    await connection.execute(SERVED, now)


async def take(
    connection: Connection, now: datetime, leased_until: datetime, limit: int
) -> list[Delivery]:
    """Take due deliveries, leased until then; no other process takes the same ones."""
    return [Delivery(*row) for row in await connection.fetch(TAKE, now, leased_until, limit)]


async def remove(connection: Connection, done: Sequence[Delivery]) -> None:
    """Remove deliveries."""
    if done:
        ids = [delivery.id for delivery in done]
        await connection.execute(REMOVE, [delivery.tenant_id for delivery in done], ids)


async def postpone(connection: Connection, failed: Sequence[tuple[Delivery, datetime]]) -> None:
    """Set when deliveries are tried again."""
    if failed:
        await connection.execute(
            POSTPONE,
            [delivery.tenant_id for delivery, _ in failed],
            [delivery.id for delivery, _ in failed],
            [at for _, at in failed],
        )

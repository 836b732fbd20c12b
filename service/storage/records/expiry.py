"""Deletion of expired rows in small batches: no long locks, no long transactions.

One process at a time: rows of many tenants on several nodes can neither be locked nor skipped.
"""

from datetime import datetime, timedelta

from msgspec import Struct

from service.storage.engine.advisory_lock import try_lock
from service.storage.engine.connection import Connection, affected

# The outer condition is checked again on the locked row: one written since then stays.
IDEMPOTENCY = """
DELETE FROM ext_scheduler.idempotency t USING (
  SELECT tenant_id, scope, jti FROM ext_scheduler.idempotency
  WHERE created_at < $1::timestamptz ORDER BY created_at LIMIT $2::integer) o
WHERE t.tenant_id = o.tenant_id AND t.scope = o.scope AND t.jti = o.jti
"""

RATE_WINDOWS = """
DELETE FROM ext_scheduler.rate_windows t USING (
  SELECT tenant_id, scope FROM ext_scheduler.rate_windows
  WHERE updated_at < $1::timestamptz ORDER BY updated_at LIMIT $2::integer) o
WHERE t.tenant_id = o.tenant_id AND t.scope = o.scope AND t.updated_at < $1
"""

# By a function that runs as the table's owner: the service's own role may not delete entries.
AUDIT = "SELECT ext_scheduler.delete_expired_audit($1::timestamptz, $2::integer)"

# Rows for whose week there was no partition yet.
DEFAULT_RUNS = """
DELETE FROM ext_scheduler.runs_default t USING (
  SELECT tenant_id, id, slot FROM ext_scheduler.runs_default
  WHERE slot < $1::timestamptz LIMIT $2::integer) o
WHERE t.tenant_id = o.tenant_id AND t.id = o.id AND t.slot = o.slot
"""

RUN_ATTEMPTS = """
DELETE FROM ext_scheduler.run_attempts t USING (
  SELECT tenant_id, run_id, attempt FROM ext_scheduler.run_attempts
  WHERE slot < $1::timestamptz ORDER BY slot LIMIT $2::integer) o
WHERE t.tenant_id = o.tenant_id AND t.run_id = o.run_id AND t.attempt = o.attempt
"""

WORKERS = """
DELETE FROM ext_scheduler.workers t USING (
  SELECT name FROM ext_scheduler.workers
  WHERE seen_at < $1::timestamptz LIMIT $2::integer) o
WHERE t.name = o.name AND t.seen_at < $1
"""

QUEUE_LOG = """
DELETE FROM ext_scheduler.pgqueuer_log t USING (
  SELECT id FROM ext_scheduler.pgqueuer_log
  WHERE created < $1::timestamptz ORDER BY created LIMIT $2::integer) o
WHERE t.id = o.id
"""

WEBHOOK_DELIVERIES = """
DELETE FROM ext_scheduler.webhook_deliveries t USING (
  SELECT tenant_id, id FROM ext_scheduler.webhook_deliveries
  WHERE created_at < $1::timestamptz LIMIT $2::integer) o
WHERE t.tenant_id = o.tenant_id AND t.id = o.id
"""

HOLDS = """
DELETE FROM ext_scheduler.active_runs t USING (
  SELECT tenant_id, schedule_id FROM ext_scheduler.active_runs
  WHERE held_until < $1::timestamptz LIMIT $2::integer) o
WHERE t.tenant_id = o.tenant_id AND t.schedule_id = o.schedule_id AND t.held_until < $1
"""

LOCK_KEY = 0x657874_65787069


class Retention(Struct, frozen=True):
    """How long rows of each kind are kept."""

    runs: timedelta = timedelta(days=30)
    idempotency: timedelta = timedelta(hours=24)
    rate_windows: timedelta = timedelta(minutes=1)
    audit: timedelta = timedelta(days=400)
    queue_log: timedelta = timedelta(days=1)
    holds: timedelta = timedelta(days=1)
    workers: timedelta = timedelta(days=1)
    webhooks: timedelta = timedelta(days=2)
    """Longer than a sender tries: what no sender takes any more."""


def rules(retention: Retention) -> dict[str, tuple[str, timedelta]]:
    """Return the statement and the age for each kind of row."""
    return {
        "idempotency": (IDEMPOTENCY, retention.idempotency),
        "rate_windows": (RATE_WINDOWS, retention.rate_windows),
        "audit": (AUDIT, retention.audit),
        "runs_default": (DEFAULT_RUNS, retention.runs),
        "run_attempts": (RUN_ATTEMPTS, retention.runs),
        "workers": (WORKERS, retention.workers),
        "queue_log": (QUEUE_LOG, retention.queue_log),
        "webhook_deliveries": (WEBHOOK_DELIVERIES, retention.webhooks),
        "active_runs": (HOLDS, retention.holds),
    }


async def remove_old(connection: Connection, statement: str, before: datetime, limit: int) -> int:
    """Remove at most ``limit`` rows from before an instant; return the number of removed rows.

    Returns 0 while another process removes rows.
    """
    async with connection.transaction():
        if not await try_lock(connection, LOCK_KEY):
            return 0
        return affected(await connection.execute(statement, before, limit))

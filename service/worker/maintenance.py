"""Maintenance of the tables: partitions, expiry, and repair of inconsistencies."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from logging import getLogger
from uuid import UUID

import asyncpg
from msgspec import Struct, structs

from service.rules.planning import SlotCache, UnplannableError
from service.runtime.logs import fields
from service.runtime.metrics import Metrics
from service.storage import consistency
from service.storage.engine import clock, vacuum
from service.storage.engine.acquire import acquired
from service.storage.engine.advisory_lock import try_lock
from service.storage.engine.connection import Connection
from service.storage.engine.errors import is_unavailable
from service.storage.records import expiry
from service.storage.records.expiry import Retention
from service.storage.runs import occurrences, partitions, queue
from service.storage.schedules import stale_timers, timer_sums, timers
from service.storage.schedules.timers import Timer
from service.worker import slot_audit
from service.worker.zone_data import follow_zone_data

log = getLogger(__name__)

REPAIRED_KEY = "repaired_at"
LOCK_KEY = 0x657874_686F757365
NO_ID = UUID(int=0)


class MaintenanceSettings(Struct, frozen=True):
    """The intervals of each task, retention periods, and batch sizes."""

    gauges_every: timedelta = timedelta(seconds=15)
    expiry_every: timedelta = timedelta(seconds=30)
    reconcile_every: timedelta = timedelta(minutes=3)
    partitions_every: timedelta = timedelta(hours=1)
    account_every: timedelta = timedelta(minutes=10)
    """How often a worker looks whether the past hour is accounted for."""
    retention: Retention = Retention()
    batch: int = 1000
    max_batches: int = 50
    orphaned_after: timedelta = timedelta(minutes=2)
    """How long an occurrence may lack a job before a new one is enqueued."""
    look_back: timedelta = timedelta(hours=2)
    spread: timedelta = timedelta(0)
    """The period over which the starts of one slot are spread."""
    sharded: bool = False
    """Whether the database has several nodes: tenants that differ are then sought by sums."""


class RepairReport(Struct, frozen=True):
    """What one repair changed, and how many schedules cannot be planned."""

    timers_added: int = 0
    timers_removed: int = 0
    timers_recomputed: int = 0
    jobs_added: int = 0
    unplannable: int = 0


async def prepare_partitions(
    connection: Connection, now: datetime, retention: Retention | None = None
) -> None:
    """Create the partitions that will be needed, and drop the expired ones.

    Defers it where a statement holds a conflicting lock, or another process is doing it.
    """
    oldest = now - (retention or Retention()).runs
    try:
        made = await partitions.make_ahead(connection, now)
        dropped = await partitions.drop_before(connection, oldest)
    except (
        asyncpg.LockNotAvailableError,
        asyncpg.DeadlockDetectedError,
        asyncpg.DuplicateTableError,
        asyncpg.UndefinedTableError,
        asyncpg.UniqueViolationError,
        asyncpg.InvalidObjectDefinitionError,
        # A run of that week was planned meanwhile; the week stays in the default partition.
        asyncpg.CheckViolationError,
    ) as error:
        log.info("partitions deferred: %s", error)
        return
    if made or dropped:
        log.info("partitions changed", extra=fields(made=made, dropped=dropped))


async def remove_expired(
    connection: Connection, now: datetime, settings: MaintenanceSettings
) -> dict[str, int]:
    """Delete expired rows, in small batches; return how many of each kind."""
    removed = {}
    for kind, (statement, age) in expiry.rules(settings.retention).items():
        total = 0
        for _ in range(settings.max_batches):
            count = await expiry.remove_old(connection, statement, now - age, settings.batch)
            total += count
            if count < settings.batch:
                break
        if total:
            removed[kind] = total
    return removed


async def repair(
    connection: Connection, now: datetime, settings: MaintenanceSettings, slot_cache: SlotCache
) -> RepairReport:
    """Repair the inconsistencies that are cheap to find, whatever program left them."""
    # First, while ``now`` is fresh. A slot that the planner passes in between comes up once more,
    # and is left alone: occurrences are unique.
    stale = await stale_timers.find(connection, now, slot_cache, settings.batch)
    async with connection.transaction():
        recomputed = await stale_timers.repair(connection, stale, now, slot_cache)
    tenants: Sequence[str | None] = [None]
    if settings.sharded:
        tenants = await timer_sums.differing_tenants(connection)
    added = removed = unplannable = 0
    for tenant_id in tenants:
        counts = await _add_timers(connection, now, settings, slot_cache, tenant_id)
        added, unplannable = added + counts[0], unplannable + counts[1]
        orphaned = await consistency.timers_without_schedule(connection, tenant_id, settings.batch)
        async with connection.transaction():
            removed += await consistency.remove_timers(connection, orphaned)
    since = await _looking_back_to(connection, now, settings)
    without_job = await consistency.runs_without_job(
        connection, since, now - settings.orphaned_after, settings.batch
    )
    jobs = await queue.enqueue(
        connection, [occurrences.job(occurrence, occurrence.id) for occurrence in without_job]
    )
    if len(without_job) < settings.batch:
        await consistency.set_metadata_value(connection, REPAIRED_KEY, now.isoformat())
    return RepairReport(
        timers_added=added,
        timers_removed=removed,
        timers_recomputed=len(recomputed),
        jobs_added=len(jobs),
        unplannable=unplannable,
    )


async def _looking_back_to(
    connection: Connection, now: datetime, settings: MaintenanceSettings
) -> datetime:
    """Return since when runs without a job are looked for: further back after a long outage."""
    repaired = await consistency.metadata_value(connection, REPAIRED_KEY)
    last = now if repaired is None else datetime.fromisoformat(repaired)
    return min(last, now) - settings.look_back


async def _add_timers(
    connection: Connection,
    now: datetime,
    settings: MaintenanceSettings,
    slot_cache: SlotCache,
    tenant_id: str | None,
) -> tuple[int, int]:
    added, unplannable, after = 0, {}, NO_ID
    while rows := await consistency.schedules_without_timer(
        connection, after, settings.batch, tenant_id
    ):
        after = rows[-1].schedule_id
        new = []
        for row in rows:
            cron, zone = row.cron or "", row.timezone or "UTC"
            try:
                due_at = slot_cache.start_after(row.schedule_id, cron, zone, now)
            except UnplannableError as error:
                unplannable[row.tenant_id, row.schedule_id] = str(error)
            else:
                new.append(
                    Timer(row.tenant_id, row.schedule_id, row.install_id, cron, zone, due_at)
                )
        # One that another job runner has taken in between is not claimed.
        claimed = await consistency.claim_ownership(connection, [timer.key for timer in new])
        await timers.add(connection, [timer for timer in new if timer.key in claimed])
        added += len(claimed)
    await consistency.set_last_errors(connection, unplannable)
    return added, len(unplannable)


class Maintenance:
    """Runs the maintenance tasks periodically; of many workers, one at a time."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        metrics: Metrics,
        settings: MaintenanceSettings | None = None,
        now: clock.Clock = clock.read,
    ) -> None:
        self._pool = pool
        self._metrics = metrics
        self._settings = settings or MaintenanceSettings()
        self._now = now
        self._slot_cache = SlotCache(spread=self._settings.spread)

    async def prepare(self) -> None:
        """Do what must precede planning: partitions, and timers after a change of zone data."""
        async with acquired(self._pool) as connection:
            now = await self._now(connection)
            await prepare_partitions(connection, now, self._settings.retention)
            await follow_zone_data(connection, now, spread=self._settings.spread)

    async def run(self, stopping: asyncio.Event) -> None:
        """Run the tasks until ``stopping`` is set."""
        settings = self._settings
        await asyncio.gather(
            self._every(settings.gauges_every, self.measure, stopping),
            self._every(settings.expiry_every, self.expire, stopping),
            self._every(settings.reconcile_every, self.repair, stopping),
            self._every(settings.partitions_every, self.prepare, stopping),
            self._every(settings.account_every, self.account, stopping),
        )

    async def _every(
        self, pause: timedelta, work: Callable[[], Awaitable[None]], stopping: asyncio.Event
    ) -> None:
        while not stopping.is_set():
            # Spread, so that workers started together do not run them at the same time.
            wait_s = pause.total_seconds() * random.uniform(0.7, 1.0)  # noqa: S311 - jitter
            try:
                await asyncio.wait_for(stopping.wait(), wait_s)
            except TimeoutError:
                await self._run_task(work)

    async def _run_task(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except Exception as error:
            if not is_unavailable(error):
                raise
            log.warning("maintenance deferred: %r", error)

    async def measure(self) -> None:
        """Set the gauges that need counting."""
        async with acquired(self._pool) as connection:
            now = await self._now(connection)
            self._metrics.due_timers.set(await timers.count_due(connection, now))
            self._metrics.queue_depth.set(await queue.depth(connection))
            audit = await slot_audit.latest(connection)
            self._metrics.unaccounted_slots.set(0 if audit is None else audit.unaccounted)
            self._metrics.oldest_xmin.set(await vacuum.oldest_xmin(connection))

    async def expire(self) -> None:
        """Delete expired rows, a batch at a time, unless another worker is doing it."""
        async with acquired(self._pool) as connection:
            now = await self._now(connection)
            removed = await remove_expired(connection, now, self._settings)
        if removed:
            log.info("expired rows deleted", extra=fields(**removed))

    async def account(self) -> None:
        """Account for the past hour, unless another worker is doing it, or has."""
        await slot_audit.run(self._pool, self._now, self._settings.spread)

    async def repair(self) -> None:
        """Repair inconsistencies, unless another worker is doing it."""
        async with acquired(self._pool) as guard, guard.transaction():
            if not await try_lock(guard, LOCK_KEY):
                return
            # On a separate connection, statement by statement: no row is locked for long.
            async with acquired(self._pool) as connection:
                now = await self._now(connection)
                report = await repair(connection, now, self._settings, self._slot_cache)
        if report != RepairReport():
            log.warning("repaired inconsistencies", extra=fields(**structs.asdict(report)))

"""``make bench-retention``: 5,000,000 run records, the older half of which is due to go.

Shows what removing them takes, how a concurrent planner slows down, how much room it
gives back, and what a page of history costs before and after. PostgreSQL is embedded, and without
fsync: nothing here is about how fast it writes.
"""

import argparse
import asyncio
import time
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
import msgspec
from msgspec import Struct

from devstack.embedded import embedded_postgres
from service.storage.engine import clock
from service.storage.engine.migrate import migrate
from service.storage.records.expiry import Retention
from service.storage.runs import history, occurrences, partitions
from service.storage.runs.occurrences import Occurrence
from service.worker.maintenance import (
    MaintenanceSettings,
    prepare_partitions,
    remove_expired,
)

RECORDS = 5_000_000
DAYS = 60
AT_ONCE = 250_000
UNPARTITIONED = 100_000
"""The records in the default partition, as if no other had been ready; these are deleted."""
KEPT = Retention(runs=timedelta(days=30))

FILL = """
INSERT INTO ext_scheduler.runs (tenant_id, id, install_id, schedule_id, slot, kind, trigger, status,
  attempts, queued_at, started_at, finished_at, duration_ms, http_status, worker)
SELECT 'tenant-' || n % 1000, gen_random_uuid(), lpad((n % 2000)::text, 32, '0')::uuid,
  lpad((n % 20000)::text, 32, '0')::uuid, s.slot, 'scheduled', 'schedule', 'success', 1, s.slot,
  s.slot, s.slot, 12, 200, 'worker'
FROM generate_series($1::integer, $2::integer - 1) n,
  LATERAL (SELECT date_trunc('minute', $3::timestamptz) - n / 20000 * $4::interval AS slot) s
"""
SIZE = """
SELECT sum(pg_total_relation_size(inhrelid))::bigint FROM pg_inherits
WHERE inhparent = 'ext_scheduler.runs'::regclass
"""
DEAD = """
SELECT sum(n_dead_tup)::bigint FROM pg_stat_user_tables WHERE relname LIKE 'runs\\_%'
"""
COUNT = "SELECT count(*) FROM ext_scheduler.runs"


class State(Struct, frozen=True):
    """What the tables hold."""

    records: int
    size_mb: float
    page_ms: float
    deep_page_ms: float


async def fill(connection: asyncpg.Connection, now: datetime, records: int) -> None:
    """Spread records evenly over the days, in the partitions of their weeks."""
    for week in range(DAYS // 7 + 2):
        await partitions.make_ahead(connection, now - week * partitions.WEEK, weeks=0)
    step = timedelta(days=DAYS) / (records / 20_000)
    for first in range(0, records - UNPARTITIONED, AT_ONCE):
        beyond = min(first + AT_ONCE, records - UNPARTITIONED)
        await connection.execute(FILL, first, beyond, now, step)
    ancient = now - timedelta(days=3650)
    await connection.execute(FILL, 0, UNPARTITIONED, ancient, step)
    await partitions.make_ahead(connection, now)
    await connection.execute("VACUUM ANALYZE ext_scheduler.runs")


async def page_ms(connection: asyncpg.Connection, now: datetime, back: timedelta) -> float:
    """Return the median milliseconds of 50 pages of one schedule's history of that age."""
    took = []
    for number in range(50):
        wanted = history.RunFilter(
            tenant_id=f"tenant-{number}",
            schedule_id=UUID(int=int(f"0x{number}", 16)),
            install_id=None,
            status=None,
            after=(now - back, UUID(int=2**128 - 1)),
        )
        began = time.perf_counter()
        rows = await history.page(connection, wanted, 50)
        took.append(time.perf_counter() - began)
        assert rows
    return sorted(took)[len(took) // 2] * 1000


async def state(connection: asyncpg.Connection, now: datetime) -> State:
    """Return what the tables hold now."""
    return State(
        records=await connection.fetchval(COUNT),
        size_mb=await connection.fetchval(SIZE) / 1e6,
        page_ms=await page_ms(connection, now, timedelta(0)),
        deep_page_ms=await page_ms(connection, now, timedelta(days=25)),
    )


async def write_on(url: str, stopping: asyncio.Event) -> list[float]:
    """Plan fifty occurrences after fifty, as a planner would; return how long each took (ms)."""
    connection = await asyncpg.connect(url)
    took = []
    while not stopping.is_set():
        now = await clock.read(connection)
        new = [
            Occurrence(tenant_id="writer", install_id=uuid4(), schedule_id=uuid4(), slot=now)
            for _ in range(50)
        ]
        began = time.perf_counter()
        async with connection.transaction():
            await occurrences.plan(connection, new, now)
        took.append((time.perf_counter() - began) * 1000)
        await asyncio.sleep(0.01)
    await connection.close()
    return took


async def measure(url: str, records: int) -> None:
    """Fill, look, remove while another writes, look again."""
    connection = await asyncpg.connect(url)
    await migrate(connection)
    now = await clock.read(connection)
    began = time.perf_counter()
    await fill(connection, now, records)
    print(
        f"{records:,} records over {DAYS} days in {time.perf_counter() - began:.0f} s", flush=True
    )
    before = await state(connection, now)
    stopping = asyncio.Event()
    writing = asyncio.create_task(write_on(url, stopping))
    await asyncio.sleep(1)
    began = time.perf_counter()
    await prepare_partitions(connection, now, KEPT)
    dropped_s = time.perf_counter() - began
    began = time.perf_counter()
    settings = MaintenanceSettings(retention=KEPT, max_batches=UNPARTITIONED)
    removed = await remove_expired(connection, now, settings)
    deleted_s = time.perf_counter() - began
    stopping.set()
    waits = sorted(await writing)
    after = await state(connection, now)
    print(f"{'':8}{'records':>12}{'size':>12}{'newest page':>14}{'page of day 25':>16}")
    for name, seen in (("before", before), ("after", after)):
        print(
            f"{name:8}{seen.records:>12,}{seen.size_mb:>9,.0f} MB{seen.page_ms:>11.2f} ms"
            f"{seen.deep_page_ms:>13.2f} ms"
        )
    dead = await connection.fetchval(DEAD)
    print(f"partitions dropped in {dropped_s:.2f} s; {removed} deleted in {deleted_s:.1f} s")
    middle, longest = waits[len(waits) // 2], waits[-1]
    print(f"{len(waits)} concurrent batches: median {middle:.1f} ms, longest {longest:.1f} ms")
    print(f"dead rows left in the partitions: {dead:,}")
    summary = {
        "records": records,
        "dropped_s": round(dropped_s, 3),
        "longest_write_ms": round(waits[-1], 1),
        "page_ms": round(before.page_ms, 2),
        "freed_mb": round(before.size_mb - after.size_mb),
    }
    print(msgspec.json.encode({"bench_retention": summary}).decode())
    await connection.close()


def main() -> None:
    """Read the options, start the server, measure."""
    options = argparse.ArgumentParser(prog="make bench-retention", description=__doc__)
    options.add_argument("--records", type=int, default=RECORDS)
    chosen = options.parse_args()
    with embedded_postgres() as postgres:
        asyncio.run(measure(postgres.dsn, chosen.records))


if __name__ == "__main__":
    main()

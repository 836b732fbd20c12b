"""``make bench-account``: what accounting for an hour of every schedule costs.

Each schedule fires twelve times in the hour; one in fifty is disabled, one in a hundred was changed
within the hour, one in a thousand lost a run row, which has to be found. PostgreSQL is embedded.
"""

import argparse
import asyncio
import resource
import time
from datetime import datetime, timedelta

import asyncpg
import msgspec
from msgspec import Struct

from bench import data
from devstack.embedded import embedded_postgres
from service.storage.accounting import SETTLED_AFTER
from service.storage.engine import clock
from service.storage.engine.migrate import migrate
from service.storage.runs import partitions
from service.worker import slot_audit

EACH = 10
"""Schedules of an install, each of which is its tenant's only one."""
AT_ONCE = 5_000
EXPRESSIONS = """
UPDATE tenant_extension_schedule s
SET cron = n.n % 5 || '-59/5 * * * *', enabled = n.n % 50 <> 0,
  created_at = now() - interval '1 day'
FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM tenant_extension_schedule) n
WHERE n.id = s.id
"""
RUNS = """
INSERT INTO ext_scheduler.runs (tenant_id, id, install_id, schedule_id, slot, kind, trigger, status,
  attempts, queued_at, started_at, finished_at, duration_ms, http_status, worker)
SELECT s.tenant_id, gen_random_uuid(), s.install_id, s.id, slot, 'scheduled', 'schedule', 'success',
  1, slot, slot, slot, 12, 200, 'worker'
FROM tenant_extension_schedule s,
  generate_series($1::timestamptz + interval '1 minute', $2, interval '1 minute') slot
WHERE s.enabled AND s.tenant_id = ANY ($3::text[])
  AND extract(minute FROM slot)::integer % 5 = split_part(s.cron, '-', 1)::integer
"""
CHANGED = """
INSERT INTO ext_scheduler.audit (tenant_id, at, install_id, schedule_id, op, trigger, actor,
  request_id, changes)
SELECT s.tenant_id, $1, s.install_id, s.id, 'update', 'host_api', 'bench', 'bench',
  '{"enabled": true}'
FROM tenant_extension_schedule s WHERE s.enabled AND hashtext(s.id::text) % 100 = 0
"""
LOSE = """
WITH lost AS (
  DELETE FROM ext_scheduler.runs r USING tenant_extension_schedule s
  WHERE s.tenant_id = r.tenant_id AND s.id = r.schedule_id AND hashtext(s.id::text) % 1000 = 1
    AND r.slot > $1::timestamptz + interval '20 minutes' AND r.slot <= $1 + interval '25 minutes'
  RETURNING 1)
SELECT count(*) FROM lost
"""


class AccountCost(Struct, frozen=True):
    """What an account cost; ``peak_growth_mb`` is how much the process grew while it was made."""

    schedules: int
    slots: int
    lost: int
    unaccounted: int
    elapsed_s: float
    cpu_s: float
    peak_growth_mb: float


async def fill(connection: asyncpg.Connection, until: datetime, schedules: int) -> int:
    """Write the schedules and their runs; return how many runs were lost on purpose."""
    await partitions.make_ahead(connection, until - partitions.WEEK)
    installs = await data.installs(connection, "bench", schedules // EACH)
    await data.schedules(connection, "bench", EACH)
    await connection.execute(EXPRESSIONS)
    after = until - timedelta(hours=1)
    tenants = [install.tenant_id for install in installs]
    for first in range(0, len(tenants), AT_ONCE):
        await connection.execute(RUNS, after, until, tenants[first : first + AT_ONCE])
    await connection.execute(CHANGED, until - timedelta(minutes=30))
    lost: int = await connection.fetchval(LOSE, after)
    await connection.execute("VACUUM ANALYZE")
    return lost


def peak_mb() -> float:
    """Return the most memory that this process has ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def measure(url: str, schedules: int) -> AccountCost:
    """Account for the hour once, as a worker does."""
    connection = await asyncpg.connect(url)
    await migrate(connection)
    now = await clock.read(connection)
    until = now.replace(second=0, microsecond=0) - SETTLED_AFTER
    print(f"writing {schedules:,} schedules and their runs …", flush=True)
    lost = await fill(connection, until, schedules)
    await connection.close()

    async def at_that_time(_: object) -> datetime:
        return now

    async with asyncpg.create_pool(url, min_size=2, max_size=2) as pool:
        before, began, cpu_began = peak_mb(), time.perf_counter(), time.process_time()
        audit = await slot_audit.run(pool, at_that_time)
        elapsed, cpu = time.perf_counter() - began, time.process_time() - cpu_began
    assert audit is not None
    return AccountCost(
        schedules=audit.schedules,
        slots=audit.slots,
        lost=lost,
        unaccounted=audit.unaccounted,
        elapsed_s=round(elapsed, 2),
        cpu_s=round(cpu, 2),
        peak_growth_mb=round(peak_mb() - before, 1),
    )


async def main(schedules: int) -> None:
    """Measure, and print what was found. Fails where another number is unaccounted than lost."""
    with embedded_postgres() as postgres:
        cost = await measure(postgres.dsn, schedules)
    print(msgspec.json.format(msgspec.json.encode(cost)).decode())
    assert cost.unaccounted == cost.lost, "the account does not find what was lost"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--schedules", type=int, default=100_000)
    asyncio.run(main(parser.parse_args().schedules))

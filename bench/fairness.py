"""How late others start while one tenant has 10,000 occurrences due whose calls take 30 s each.

``python -m bench.fairness``: one worker process with the settings of production, on servers of its
own; the Runner holds back its answers to that tenant. Twenty tenants have one occurrence each at
the same slot, another one has a manual run every second afterwards, for more than two calls' time.
"""

import asyncio
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import asyncpg

from bench import data
from bench.firing import BUNDLES, CONFIGURED, DUE, SAME_CRON, database, key_file, runner
from bench.firing_report import DEFAULT_ALG
from bench.worker_process import worker
from devstack.embedded import Nats, Postgres, embedded_nats, embedded_postgres, private_directory
from service.storage.engine import clock
from service.storage.runs import occurrences

GREEDY, OTHERS, DUE_AT_ONCE = "greedy-1", 20, 10_000
CALL_S, WATCHED_S, PREPARED_BEFORE_S = 30, 75, 15.0

LATENESS = """
SELECT kind, count(*) AS runs, count(started_at) AS started,
  percentile_cont(ARRAY[0.5, 1]) WITHIN GROUP
    (ORDER BY extract(epoch FROM started_at - CASE kind WHEN 'manual' THEN queued_at
      ELSE slot END)::float) AS late
FROM ext_scheduler.runs WHERE tenant_id <> $1 GROUP BY kind ORDER BY kind DESC
"""
GREEDY_RUNS = """
SELECT count(*) FILTER (WHERE status = 'success') AS done,
  count(*) FILTER (WHERE status = 'running') AS running,
  count(*) FILTER (WHERE status = 'queued') AS waiting
FROM ext_scheduler.runs WHERE tenant_id = $1
"""


async def due_together(connection: asyncpg.Connection) -> datetime:
    """Write the schedules, the greedy tenant's first; return the slot at which all are due."""
    await data.installs(connection, "greedy", 1)
    await data.schedules(connection, "greedy", DUE_AT_ONCE)
    await data.installs(connection, "other", OTHERS)
    await data.schedules(connection, "other", 1)
    await connection.execute(CONFIGURED)
    await connection.execute(BUNDLES)
    ahead = datetime.now(UTC) + timedelta(seconds=PREPARED_BEFORE_S)
    slot = ahead.replace(second=0, microsecond=0) + timedelta(minutes=1)
    cron = f"{slot.minute} * * * *"
    await connection.execute(SAME_CRON, cron)
    await connection.execute(DUE, cron, slot)
    await connection.execute("VACUUM ANALYZE")
    return slot


async def ask_now_and_then(connection: asyncpg.Connection, until: datetime) -> None:
    """Request a manual run every second, each of a tenant that does nothing else."""
    installs = await data.installs(connection, "later", WATCHED_S)
    await data.schedules(connection, "later", 1)
    rows = await connection.fetch("SELECT install_id, id FROM tenant_extension_schedule")
    ids: dict[UUID, UUID] = {row["install_id"]: row["id"] for row in rows}
    for install in installs:
        if datetime.now(UTC) > until:
            return
        now = await clock.read(connection)
        await occurrences.plan_manual_run(
            connection, install.tenant_id, install.id, ids[install.id], now
        )
        await asyncio.sleep(1)


async def watch(directory: Path, postgres: Postgres, bus: Nats) -> None:
    """Run the scenario, and print the outcome."""
    url = await database(postgres, "fairness")
    connection = await asyncpg.connect(url)
    slot = await due_together(connection)
    with worker(key_file(directory, DEFAULT_ALG), url, bus):
        await asyncio.sleep((slot - datetime.now(UTC)).total_seconds())
        await ask_now_and_then(connection, slot + timedelta(seconds=WATCHED_S))
        await asyncio.sleep(5)
        greedy = await connection.fetchrow(GREEDY_RUNS, GREEDY)
        rows = await connection.fetch(LATENESS, GREEDY)
    await connection.close()
    assert greedy is not None
    print(f"greedy tenant: {dict(greedy)}; its calls take {CALL_S} s")
    for row in rows:
        median_s, most_s = row["late"]
        print(
            f"others, {row['kind']}: {row['started']} of {row['runs']} started,"
            f" late by {median_s:.2f} s (median), {most_s:.2f} s (most)"
        )


def main() -> None:
    """Start the servers, watch, print."""
    with ExitStack() as stack:
        directory = stack.enter_context(private_directory())
        postgres = stack.enter_context(embedded_postgres(directory / "postgres", durable=True))
        bus = stack.enter_context(embedded_nats(directory / "nats"))
        stack.enter_context(runner(bus, GREEDY, str(CALL_S)))
        asyncio.run(watch(directory, postgres, bus))


if __name__ == "__main__":
    main()

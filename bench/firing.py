"""``make bench-firing``: N schedules due at one slot, and next to them pgqueuer's no-op drain.

Only the Runner is not real: it answers at once, from a process of its own. One worker process does
everything that it does in production: it claims runs, loads what they need, sends signed requests
over NATS, and writes run records, last-run fields and events. PostgreSQL is embedded and has its
durable settings. All of it shares the machine's cores. A rate is measured from the slot to the end
of the last run, so that it includes the planning.

The drain is pgqueuer's own manager with its own settings, just before, on the loop that the worker
runs on too. Requests are signed with HS256, as in the benchmark of requests. The size that the
last line reports is measured in several rounds, each with a drain of its own, and shown by the
one with the median ratio; that size is measured with EdDSA too, the contract's default.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import asyncpg
import msgspec
from msgspec import Struct

from bench import data
from bench.cpu import cpu_s, machine_cpu_s
from bench.firing_report import (
    DEFAULT_ALG,
    HEADLINE_ALG,
    IDLE_SIZES,
    REPORTED,
    FiringFigures,
    report,
)
from bench.worker_process import worker
from contracts.context import generate_key, key_set_document
from contracts.subjects import RUNNER_AUDIENCE
from devstack.embedded import Nats, Postgres, embedded_nats, embedded_postgres, private_directory
from service.storage.engine.migrate import migrate

SIZES = (1_000, 10_000, 50_000)
IDLE_REPEATS = 5
PREPARED_BEFORE_S = 8.0
SHOWN = ("fsync", "full_page_writes", "synchronous_commit", "shared_buffers", "max_wal_size")

DUE = "UPDATE ext_scheduler.timers SET cron = $1, due_at = $2"
SAME_CRON = "UPDATE tenant_extension_schedule SET cron = $1"
CONFIGURED = """
INSERT INTO tenant_extension_install_config (install_id, tenant_id, config)
SELECT id, tenant_id, '{"greeting": "hello", "limit": 10}' FROM tenant_extension_install
"""
BUNDLES = """
INSERT INTO extension_bundle (version_id, content_hash)
SELECT id, 'sha256:00' FROM extension_version
"""
UNFINISHED = """
SELECT EXISTS (SELECT FROM ext_scheduler.runs WHERE finished_at IS NULL)
  OR EXISTS (SELECT FROM ext_scheduler.timers WHERE due_at = $1)
"""
RESULT = """
SELECT count(*) AS runs, count(*) FILTER (WHERE status = 'success') AS succeeded,
  min(error) AS why,
  extract(epoch FROM max(finished_at) - $1)::float AS done_s,
  extract(epoch FROM max(queued_at) - $1)::float AS planned_s,
  percentile_cont(ARRAY[0.5, 0.99, 1]) WITHIN GROUP
    (ORDER BY extract(epoch FROM started_at - $1)::float) AS lateness
FROM ext_scheduler.runs
"""
SUCCEEDED_SCHEDULES = (
    "SELECT count(*) FROM tenant_extension_schedule WHERE last_run_status = 'success'"
)
MANY_TIMERS = """
INSERT INTO ext_scheduler.timers (tenant_id, schedule_id, install_id, cron, timezone, due_at)
SELECT 'tenant-' || n % 1000, gen_random_uuid(), gen_random_uuid(), '0 * * * *', 'UTC',
  now() + interval '1 day' + n % 1440 * interval '1 minute'
FROM generate_series(1, $1::integer) n
"""


def key_file(directory: Path, alg: str) -> Path:
    """Write a key set with a key for the worker."""
    file = directory / f"{alg}.json"
    key = generate_key(alg, kid="worker", issuer="bench", audiences=[RUNNER_AUDIENCE])
    file.write_bytes(key_set_document([key]))
    return file


@contextmanager
def runner(bus: Nats, *slow: str) -> Iterator[subprocess.Popen[str]]:
    """Yield a Runner that answers at once; ``slow`` is a tenant's id and its delay in seconds."""
    command = [sys.executable, "-m", "bench.execute_stub", bus.url, *slow]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "ready"
        try:
            yield process
        finally:
            process.terminate()


def said_by(module: str, *arguments: object) -> str:
    """Return the last line that a program of this folder prints."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.strip().rpartition("\n")[2]


async def database(postgres: Postgres, name: str, *, migrated: bool = True) -> str:
    """Make a database; return its DSN."""
    connection = await asyncpg.connect(postgres.dsn)
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    if migrated:
        connection = await asyncpg.connect(postgres.dsn_of(name))
        await migrate(connection)
        await connection.close()
    return postgres.dsn_of(name)


async def due_together(connection: asyncpg.Connection, size: int) -> datetime:
    """Write that many schedules, ten for each install, all due at one slot soon; return it."""
    await data.installs(connection, "bench", size // data.SCHEDULES_EACH)
    await data.schedules(connection, "bench", data.SCHEDULES_EACH)
    await connection.execute(CONFIGURED)
    await connection.execute(BUNDLES)
    ahead = datetime.now(UTC) + timedelta(seconds=PREPARED_BEFORE_S + size / 5000)
    slot = ahead.replace(second=0, microsecond=0) + timedelta(minutes=1)
    cron = f"{slot.minute} * * * *"
    await connection.execute(SAME_CRON, cron)
    await connection.execute(DUE, cron, slot)
    await connection.execute("VACUUM ANALYZE")
    await connection.execute("CHECKPOINT")
    return slot


class FiringBench(Struct, frozen=True):
    """What all sizes share; ``runner`` is the process id of the Runner that answers at once."""

    directory: Path
    postgres: Postgres
    bus: Nats
    runner: int


async def fire_rounds(stage: FiringBench, size: int, alg: str, rounds: int) -> FiringFigures:
    """Return the figures of the round with the median ratio."""
    figures = [await fire(stage, size, alg, number) for number in range(rounds)]
    return sorted(figures, key=lambda each: each.ratio)[rounds // 2]


async def fire(
    stage: FiringBench, size: int, alg: str, number: int = 0, processes: int = 1
) -> FiringFigures:
    """Fire that many schedules, after draining as many no-op jobs."""
    name, postgres = f"{alg.lower()}_{size}_{processes}_{number}", stage.postgres
    bare = await database(postgres, f"noop_{name}", migrated=False)
    arguments = ("bench.noop_drain", bare, size, postgres.server.pid)
    drained = msgspec.json.decode(await asyncio.to_thread(said_by, *arguments))
    url = await database(postgres, f"firing_{name}")
    connection = await asyncpg.connect(url)
    slot = await due_together(connection, size)
    with worker(key_file(stage.directory, alg), url, stage.bus, processes) as process:
        pids = (process.pid, postgres.server.pid, stage.bus.server.pid, stage.runner)
        await asyncio.sleep((slot - datetime.now(UTC)).total_seconds() - 0.5)
        used, machine, wal = [cpu_s(pid) for pid in pids], machine_cpu_s(), await wal_at(connection)
        began = time.monotonic()
        await asyncio.sleep(0.5 + size / 10_000)
        await until_done(connection, slot)
        cpu_us = [(cpu_s(pid) - u) / size * 1e6 for pid, u in zip(pids, used, strict=True)]
        others_s = machine_cpu_s() - machine - sum(cpu_us) * size / 1e6
        others = max(0.0, others_s) / (time.monotonic() - began)
        wal = (await wal_at(connection) - wal) / size
        rss_mb = peak_mb(process.pid)
    found = await connection.fetchrow(RESULT, slot)
    schedules = await connection.fetchval(SUCCEEDED_SCHEDULES)
    await connection.close()
    assert found is not None
    if not found["runs"] == found["succeeded"] == schedules == size:
        raise RuntimeError(
            f"of {size} runs, not all succeeded: {found}, {schedules} schedules with success"
        )
    return FiringFigures(
        size=size,
        alg=alg,
        noop_drain=drained["rate"],
        noop_cpu_us=drained["cpu_us"],
        rate=size / found["done_s"],
        planned_s=found["planned_s"],
        done_s=found["done_s"],
        lateness=found["lateness"],
        rss_mb=rss_mb,
        cpu_us=cpu_us,
        others=others,
        wal_bytes=wal,
    )


async def wal_at(connection: asyncpg.Connection) -> float:
    """Return how many bytes the write-ahead log has ever taken."""
    return float(await connection.fetchval("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn"))


async def until_done(connection: asyncpg.Connection, slot: datetime) -> None:
    """Wait until all runs have ended. It asks seldom, because each question loads the database."""
    while True:
        if not await connection.fetchval(UNFINISHED, slot):
            return
        await asyncio.sleep(0.25)


def peak_mb(pid: int) -> float:
    """Return the most memory that a process ever held, in MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024 / 1e6
    raise RuntimeError("no VmHWM: not Linux?")


async def idle(postgres: Postgres) -> dict[int, dict[str, float]]:
    """Return the CPU and waiting (µs) of one look of an idle planner, for each number of timers."""
    urls = {}
    for size in IDLE_SIZES:
        urls[size] = await database(postgres, f"idle_{size}")
        connection = await asyncpg.connect(urls[size])
        await connection.execute(MANY_TIMERS, size)
        await connection.execute("VACUUM ANALYZE ext_scheduler.timers")
        await connection.close()
    seen: dict[int, list[dict[str, float]]] = {size: [] for size in IDLE_SIZES}
    for _ in range(IDLE_REPEATS):
        for size in IDLE_SIZES:
            said = await asyncio.to_thread(said_by, "bench.idle", urls[size])
            seen[size].append(msgspec.json.decode(said))
    return {
        size: {name: median(each[name] for each in looks) for name in looks[0]}
        for size, looks in seen.items()
    }


async def show_settings(postgres: Postgres) -> None:
    """Say how durable the database is."""
    connection = await asyncpg.connect(postgres.dsn)
    values = [f"{name} {await connection.fetchval(f'SHOW {name}')}" for name in SHOWN]
    version = await connection.fetchval("SHOW server_version")
    await connection.close()
    print(f"PostgreSQL {version}: {', '.join(values)}; {os.cpu_count()} cores", flush=True)


def main() -> None:
    """Read the options, start the servers, measure, report."""
    options = argparse.ArgumentParser(prog="make bench-firing", description=__doc__)
    options.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="how many at once")
    options.add_argument("--rounds", type=int, default=3, help="of the size reported last")
    chosen = options.parse_args()
    with ExitStack() as stack:
        directory = stack.enter_context(private_directory())
        postgres = stack.enter_context(embedded_postgres(directory / "postgres", durable=True))
        bus = stack.enter_context(embedded_nats(directory / "nats"))
        stage = FiringBench(directory, postgres, bus, stack.enter_context(runner(bus)).pid)
        asyncio.run(show_settings(postgres))
        rounds = {REPORTED: chosen.rounds}
        runs = [(size, HEADLINE_ALG) for size in chosen.sizes]
        runs += [(size, DEFAULT_ALG) for size in chosen.sizes if size == REPORTED]
        figures = [
            asyncio.run(fire_rounds(stage, size, alg, rounds.get(size, 1))) for size, alg in runs
        ]
        report(figures, asyncio.run(idle(postgres)))


if __name__ == "__main__":
    main()

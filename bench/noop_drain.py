"""What pgqueuer alone can do: enqueue jobs, then drain them with a handler that does nothing.

On uvloop, as pgqueuer's own program and as our worker. Prints JSON: jobs a second, and the CPU of
this process and of PostgreSQL for each job, in µs.
"""

import sys
import time
from datetime import timedelta

import asyncpg
import msgspec
import uvloop
from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver
from pgqueuer.adapters.persistence.qb import QueryBuilderEnvironment
from pgqueuer.adapters.persistence.queries import Queries
from pgqueuer.core.qm import QueueManager
from pgqueuer.domain.models import Job
from pgqueuer.domain.types import QueueExecutionMode

from bench.cpu import cpu_s

ENQUEUE_AT_ONCE = 1000
BATCH = 100


async def drain(url: str, count: int, postgres_pid: int) -> dict[str, float]:
    """Drain over one connection, in pgqueuer's own schema and with its own settings."""
    connection = await asyncpg.connect(url)
    queries = Queries(AsyncpgDriver(connection))
    if await connection.fetchval("SELECT to_regclass('pgqueuer') IS NULL"):
        for statement in (QueryBuilderEnvironment().build_install_query(),):
            await connection.execute(statement)
    for _ in range(0, count, ENQUEUE_AT_ONCE):
        size = min(ENQUEUE_AT_ONCE, count)
        await queries.enqueue(["noop"] * size, [b"x"] * size, [0] * size)
    await connection.execute("ANALYZE pgqueuer")
    manager = QueueManager(queries)

    @manager.entrypoint("noop")
    async def noop(_: Job) -> None:
        return

    used = time.process_time() + cpu_s(postgres_pid)
    began = time.perf_counter()
    await manager.run(
        dequeue_timeout=timedelta(seconds=1),
        batch_size=BATCH,
        mode=QueueExecutionMode.drain,
        log_aggregation_interval=timedelta(0),
    )
    took = time.perf_counter() - began
    used = time.process_time() + cpu_s(postgres_pid) - used
    return {"rate": count / took, "cpu_us": used / count * 1e6}


if __name__ == "__main__":
    drained = uvloop.run(drain(sys.argv[1], *map(int, sys.argv[2:])))
    print(msgspec.json.encode(drained).decode())

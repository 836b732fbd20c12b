"""What a planner costs while nothing is due: a process that only asks, again and again."""

import sys
import time

import msgspec
import uvloop

from service.runtime.metrics import Metrics
from service.storage.engine.pool import PoolSettings, open_pool
from service.worker.planner import Planner

ROUNDS = 1500


async def rounds(url: str) -> dict[str, float]:
    """Return the microseconds of own CPU, and of waiting for the database, per wake-up."""
    settings = PoolSettings(url, 2, "bench", 5000, 15000, 256)
    pool = await open_pool(settings)
    planner = Planner(pool, Metrics())
    for _ in range(ROUNDS // 10):
        await planner.plan_once()
    began, cpu_began = time.perf_counter(), time.process_time()
    for _ in range(ROUNDS):
        await planner.plan_once()
    elapsed, cpu = time.perf_counter() - began, time.process_time() - cpu_began
    await pool.close()
    return {"cpu_us": cpu / ROUNDS * 1e6, "query_us": (elapsed - cpu) / ROUNDS * 1e6}


if __name__ == "__main__":
    print(msgspec.json.encode(uvloop.run(rounds(sys.argv[1]))).decode())

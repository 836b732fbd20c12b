"""The pool of requests: a plan made while a table was empty serves it when it is full."""

from typing import Any

import msgspec
import pytest

from service.storage.engine.pool import PoolSettings, open_pool
from service.storage.schedules import create_batch
from service.storage.schedules.change_lookup import LOOKUP_COLUMNS


def scanned(node: dict[str, Any]) -> set[str]:
    """Return the tables of a plan that are read as a whole."""
    found = {node["Relation Name"]} if node["Node Type"] == "Seq Scan" else set()
    return found.union(*(scanned(inner) for inner in node.get("Plans", [])))


EMPTY = {"rate_windows", "idempotency"}


@pytest.mark.parametrize(("by_keys", "whole"), [(True, set()), (False, EMPTY)])
async def test_a_lookup_planned_over_empty_tables_uses_keys(
    database: str, by_keys: bool, whole: set[str]
) -> None:
    settings = PoolSettings(database, 1, "test", 5_000, 15_000, 256, index_only=by_keys)
    async with await open_pool(settings) as pool, pool.acquire() as connection:
        await connection.execute("VACUUM ANALYZE")
        await connection.execute("SET plan_cache_mode = force_generic_plan")
        none: list[list[Any]] = [[] for _ in LOOKUP_COLUMNS]
        text = await connection.fetchval(f"EXPLAIN (FORMAT JSON) {create_batch.LOOK_UP}", *none)
    assert scanned(msgspec.json.decode(text)[0]["Plan"]) & EMPTY == whole

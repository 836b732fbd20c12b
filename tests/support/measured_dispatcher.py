"""Requests that are answered together or one by one, and what that took."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import asyncpg

from service.storage.engine.acquire import acquired
from service.storage.engine.connection import Connection
from tests.support.host import dispatcher

WRITTEN = (
    "tenant_extension_schedule",
    "ext_scheduler.timers",
    "ext_scheduler.idempotency",
    "ext_scheduler.audit",
    "ext_scheduler.outbox",
    "ext_scheduler.rate_windows",
)
"""Where a create leaves something."""


class MeasuredDispatcher:
    """A dispatcher, how many connections it took for its requests, and which statements."""

    def __init__(self, pool: asyncpg.Pool, *, together: bool, **settings: Any) -> None:
        """``together``: in batches, of all requests or of those of a node with ``node_of``."""
        self.connections = 0
        self.statements: Counter[str] = Counter()
        self._pool = pool
        nodes = count()

        async def a_node_for_each(_tenant_id: str) -> int:
            return next(nodes)

        if not together:
            settings["node_of"] = a_node_for_each
        self.dispatcher = dispatcher(pool, connect=self._connect, **settings)

    @asynccontextmanager
    async def _connect(self) -> AsyncIterator[Connection]:
        self.connections += 1
        async with acquired(self._pool) as connection:
            with connection.query_logger(lambda query: self.statements.update([query.query])):
                yield connection


def rows_read(node: dict[str, Any], *tables: str) -> int:
    """Return how many rows an analysed plan read from these tables, filtered ones included."""
    rows = 0
    if node.get("Relation Name", "") in tables:
        each = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
        rows = round(each * node["Actual Loops"])
    return rows + sum(rows_read(inner, *tables) for inner in node.get("Plans", []))

"""The functions that a ``create`` passes, as ``docs/architecture.md`` lists them."""

from typing import Any
from uuid import uuid4

import asyncpg

from contracts.context import sign
from contracts.encoding import Encoding, encode
from contracts.subjects import CONTENT_TYPE_HEADER, CONTEXT_HEADER, host_subject
from service.storage.schedules import create_batch
from tests.support.bus_service import a_bus, a_client, serving
from tests.support.call_path import documented_path, recorded_paths
from tests.support.host import Caller, dispatcher
from tests.support.platform import install

MAX_FUNCTIONS = 11
REQUESTS = 5


def writes_schedule(arguments: dict[str, Any]) -> bool:
    return bool(arguments["query"] == create_batch.WRITE_ONE)


async def test_create_passes_the_documented_functions(pool: asyncpg.Pool, nats_url: str) -> None:
    served = dispatcher(pool)
    caller = Caller(served, await install(pool))
    body = encode({"endpoint": "/api/heartbeat", "cron": "0 * * * *"}, Encoding.MSGPACK)
    async with (
        a_bus(nats_url) as bus,
        serving(bus, served.handle),
        a_client(nats_url) as client,
    ):
        with recorded_paths(
            asyncpg.Connection.execute, writes_schedule, across_tasks=True
        ) as paths:
            for _ in range(REQUESTS):
                headers = {
                    CONTEXT_HEADER: sign(caller.claims("create", body, uuid4()), caller.key),
                    CONTENT_TYPE_HEADER: Encoding.MSGPACK.value,
                }
                await client.request(host_subject("create"), body, timeout=30, headers=headers)
    schedules = await pool.fetchval("SELECT count(*) FROM tenant_extension_schedule")
    assert schedules == REQUESTS
    assert paths == {documented_path("The path of a create request")}
    assert len(paths.pop()) <= MAX_FUNCTIONS

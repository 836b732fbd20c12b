"""What an administrator names in a body takes no turn of another tenant's callers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from msgspec import structs

from contracts.errors import Code
from service.flow_control.keyed_limiter import PerKeyLimiter
from service.storage.engine.acquire import acquired
from service.storage.engine.connection import Connection
from tests.support.admin import Admin
from tests.support.eventually import eventually
from tests.support.host import Caller, dispatcher
from tests.support.platform import install


async def test_naming_anothers_install_takes_none_of_its_turns(pool: asyncpg.Pool) -> None:
    arrived, goes_on = list[int](), asyncio.Event()

    @asynccontextmanager
    async def first_waits() -> AsyncIterator[Connection]:
        arrived.append(1)
        if len(arrived) == 1:
            await goes_on.wait()
        async with acquired(pool, 60.0) as connection:
            yield connection

    async with pool.acquire() as connection:
        made = await install(connection, tenant_id="tenant-1")
    served = structs.replace(
        dispatcher(pool, connect=first_waits), limiter=PerKeyLimiter(1, waiting=0)
    )
    stranger = Admin(served, tenant_id="tenant-2")
    body = {"installId": str(made.install_id), "endpoint": "/api/heartbeat", "cron": "0 * * * *"}
    strange = asyncio.create_task(stranger("createSchedule", **body))
    await eventually(lambda: arrived)
    created = await Caller(served, made)("create", endpoint=body["endpoint"], cron=body["cron"])
    goes_on.set()
    assert created["success"], created
    assert (await strange)["code"] == Code.NOT_FOUND

"""Refused requests are freed at once: none is left in a reference cycle, whatever the refusal."""

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from functools import partial
from types import FrameType, TracebackType
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from contracts.context import sign
from contracts.encoding import MAX_BODY_BYTES
from contracts.subjects import CONTENT_TYPE_HEADER, CONTEXT_HEADER, DEADLINE_HEADER
from service.flow_control.micro_batcher import MicroBatcher
from service.messages import Reply, Request
from service.rules.limits import Limits
from service.storage.engine.connection import Connection
from tests.support.admin import Admin
from tests.support.host import Caller, answered, dispatcher, read, request
from tests.support.platform import install

HOURLY: dict[str, Any] = {"endpoint": "/api/heartbeat", "cron": "0 * * * *"}
UNKNOWN_ID = "00000000-0000-4000-8000-000000000000"
REPEATS = 5
HELD = (Request, BaseException, FrameType, TracebackType, asyncio.Future)

Send = Callable[[], Awaitable[Reply]]


async def garbage_of(send: Callable[[], Awaitable[object]]) -> list[str]:
    """Return what only a garbage collection frees, after some calls."""
    await send()  # what is made once for a process is none of it
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        for _ in range(REPEATS):
            await send()
        gc.collect()
        return [repr(item)[:200] for item in gc.garbage if isinstance(item, HELD)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


async def assert_freed(send: Send, code: str) -> None:
    assert read(await send())["code"] == code
    assert await garbage_of(send) == []


@asynccontextmanager
async def unreachable() -> AsyncIterator[Connection]:
    raise ConnectionRefusedError
    yield  # an asynccontextmanager has one


def broken_clock(_now: datetime) -> datetime:
    raise ZeroDivisionError


@pytest.fixture(params=[False, True], ids=["together", "one by one"])
async def caller(request: pytest.FixtureRequest, pool: asyncpg.Pool) -> Caller:
    limits = Limits(changes_per_minute=1_000, max_schedules=1)
    return Caller(dispatcher(pool, limits, sharded=request.param), await install(pool))


@pytest.mark.parametrize(
    "token", ["", "a.b.c", "x" * 5_000, "e30.e30.e30"], ids=["none", "form", "large", "type"]
)
async def test_unauthorized_request_is_freed(caller: Caller, token: str) -> None:
    headers = {CONTEXT_HEADER: token, CONTENT_TYPE_HEADER: "application/json"}
    refused = request("create", b"{}", headers)
    await assert_freed(partial(caller.dispatcher.handle, refused), "UNAUTHORIZED")
    await assert_freed(partial(answered, caller.dispatcher, refused), "UNAUTHORIZED")


async def test_oversize_request_is_freed(caller: Caller) -> None:
    oversize = request("create", b"x" * (MAX_BODY_BYTES + 1), {})
    await assert_freed(partial(answered, caller.dispatcher, oversize), "VALIDATION_FAILED")


@pytest.mark.parametrize("claims", [{"aud": "x"}, {"claimed_op": "get"}, {"exp": 1}, {"iss": "x"}])
async def test_request_with_refused_claims_is_freed(caller: Caller, claims: dict[str, Any]) -> None:
    await assert_freed(lambda: caller.send("create", HOURLY, **claims), "UNAUTHORIZED")


@pytest.mark.parametrize("body", [b"\xc1", b"\xc0", b"\x81\x01\x01", b"\x81\xa1a" * 9_000])
async def test_undecodable_request_is_freed(caller: Caller, body: bytes) -> None:
    await assert_freed(lambda: caller.send("create", body), "VALIDATION_FAILED")


async def test_request_with_field_errors_is_freed(caller: Caller) -> None:
    await assert_freed(lambda: caller.send("create", {}), "VALIDATION_FAILED")
    await assert_freed(lambda: caller.send("get", {"scheduleId": "x"}), "VALIDATION_FAILED")


async def test_denied_request_is_freed(caller: Caller) -> None:
    for op in ("create", "list", "update"):
        await assert_freed(partial(caller.send, op, HOURLY, version_id="other"), "DENIED")


async def test_request_for_what_is_missing_is_freed(caller: Caller) -> None:
    stranger: dict[str, Any] = {"install_id": uuid4(), "tenant_id": None}
    for op in ("create", "list", "delete"):
        await assert_freed(partial(caller.send, op, HOURLY, **stranger), "NOT_FOUND")
    await assert_freed(lambda: caller.send("delete", {"scheduleId": UNKNOWN_ID}), "NOT_FOUND")


async def test_conflicting_request_is_freed(caller: Caller) -> None:
    jti = uuid4()
    await caller.send("create", {**HOURLY, "name": "taken"}, jti)
    await assert_freed(lambda: caller.send("create", HOURLY, jti), "CONFLICT")
    await assert_freed(lambda: caller.send("create", {**HOURLY, "name": "taken"}), "CONFLICT")


async def test_request_beyond_the_quota_is_freed(caller: Caller) -> None:
    await caller.send("create", HOURLY)
    await assert_freed(lambda: caller.send("create", HOURLY), "QUOTA_EXCEEDED")


@pytest.mark.parametrize("sharded", [False, True])
async def test_request_beyond_the_rate_is_freed(pool: asyncpg.Pool, sharded: bool) -> None:
    limits = Limits(changes_per_minute=1)
    caller = Caller(dispatcher(pool, limits, sharded=sharded), await install(pool))
    await caller.send("create", HOURLY)
    await assert_freed(lambda: caller.send("create", HOURLY), "RATE_LIMITED")


@pytest.mark.parametrize("sharded", [False, True])
async def test_request_that_met_no_database_is_freed(pool: asyncpg.Pool, sharded: bool) -> None:
    served = dispatcher(pool, connect=unreachable, sharded=sharded)
    caller = Caller(served, await install(pool))
    for op in ("create", "list", "update"):
        await assert_freed(partial(caller.send, op, HOURLY), "UNAVAILABLE")


@pytest.mark.parametrize("sharded", [False, True])
async def test_request_that_met_a_fault_is_freed(pool: asyncpg.Pool, sharded: bool) -> None:
    served = dispatcher(pool, sharded=sharded, clock=broken_clock)
    caller = Caller(served, await install(pool))
    await assert_freed(lambda: caller.send("create", HOURLY), "INTERNAL")


async def test_request_of_which_the_caller_gave_up_is_freed(caller: Caller) -> None:
    for op in ("create", "list"):
        token = sign(caller.claims(op, b"{}", uuid4()), caller.key)
        headers = {CONTEXT_HEADER: token, CONTENT_TYPE_HEADER: "application/json"}
        late = request(op, b"{}", {**headers, DEADLINE_HEADER: "1"})
        await assert_freed(partial(caller.dispatcher.handle, late), "UNAVAILABLE")


async def test_administrators_refused_request_is_freed(pool: asyncpg.Pool) -> None:
    admin = Admin(dispatcher(pool))
    await assert_freed(lambda: admin.send("runNow", {"scheduleId": UNKNOWN_ID}), "NOT_FOUND")
    await assert_freed(lambda: admin.send("runNow", {}), "VALIDATION_FAILED")
    await assert_freed(lambda: admin.send("listSchedules", {}, permissions=()), "DENIED")


async def test_waiters_of_a_failed_batch_are_freed() -> None:
    async def fail(_items: object) -> list[None]:
        raise ZeroDivisionError

    batcher = MicroBatcher[int, None](fail, wait_s=0)

    async def send() -> None:
        with suppress(ZeroDivisionError):
            await batcher.add(1)

    assert await garbage_of(send) == []

"""What is judged before what, and what a request costs its install that changed nothing."""

from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from contracts.context import sign
from contracts.encoding import MAX_BODY_BYTES, Encoding, encode
from contracts.subjects import CONTENT_TYPE_HEADER, CONTEXT_HEADER
from service.messages import Reply
from service.rules.limits import Limits
from tests.support.host import Caller, answered, dispatcher, read, request
from tests.support.platform import install

HOURLY: dict[str, Any] = {"endpoint": "/api/heartbeat", "cron": "0 * * * *"}
UNLIMITED = Limits(changes_per_minute=1_000_000)


@pytest.fixture
async def ask(pool: asyncpg.Pool) -> Caller:
    """Return a caller whose install may make one change a minute, and have one schedule."""
    limits = Limits(changes_per_minute=1, max_schedules=1)
    return Caller(dispatcher(pool, limits), await install(pool))


def outcome(reply: Reply) -> tuple[str, bool]:
    """Return the code, and whether the request was considered."""
    return read(reply)["code"], reply.error is None


async def sent_as(ask: Caller, content_type: str, body: bytes, **claims: Any) -> Reply:
    token = sign(ask.claims("create", body, uuid4(), **claims), ask.key)
    headers = {CONTEXT_HEADER: token, CONTENT_TYPE_HEADER: content_type}
    return await answered(ask.dispatcher, request("create", body, headers))


async def test_context_is_checked_before_encoding_and_encoding_before_the_install(
    ask: Caller,
) -> None:
    nobodys: dict[str, Any] = {"install_id": uuid4(), "tenant_id": None}
    unsigned = {CONTEXT_HEADER: "a.b.c", CONTENT_TYPE_HEADER: "text/plain"}
    reply = await ask.dispatcher.handle(request("create", b"\xc1", unsigned))
    assert outcome(reply) == ("UNAUTHORIZED", False)
    for content_type, body in (
        ("text/plain", b""),
        ("application/json", b"{"),
        ("application/msgpack", b"\xc1"),
        ("application/json", b"[]"),
        ("application/json", b" " * (MAX_BODY_BYTES + 1)),
    ):
        reply = await sent_as(ask, content_type, body, **nobodys)
        assert outcome(reply) == ("VALIDATION_FAILED", False)
        right = "msgpack" if "msgpack" in content_type else "json"
        assert reply.headers[CONTENT_TYPE_HEADER] == f"application/{right}"
    reply = await sent_as(ask, "application/json", b"{}", **nobodys)
    assert outcome(reply) == ("NOT_FOUND", False)


async def test_checks_run_in_the_order_install_replay_fields_rate_quota(
    ask: Caller, pool: asyncpg.Pool
) -> None:
    jti = uuid4()
    assert read(await ask.send("create", HOURLY, jti))["success"] is True
    await pool.execute("UPDATE tenant_extension_install SET is_enabled = false")
    assert outcome(await ask.send("create", {}, jti)) == ("DENIED", False)
    await pool.execute("UPDATE tenant_extension_install SET is_enabled = true")
    assert outcome(await ask.send("create", {}, jti)) == ("CONFLICT", False)
    assert outcome(await ask.send("create", {})) == ("VALIDATION_FAILED", True)
    assert outcome(await ask.send("create", HOURLY)) == ("RATE_LIMITED", False)
    await pool.execute("DELETE FROM ext_scheduler.rate_windows")
    assert outcome(await ask.send("create", HOURLY)) == ("QUOTA_EXCEEDED", True)


async def test_a_replay_counts_towards_no_limit_and_outlives_its_schedule(
    ask: Caller, pool: asyncpg.Pool
) -> None:
    jti = uuid4()
    first = await ask.send("create", HOURLY, jti)
    assert (await ask.send("create", HOURLY, jti)).body == first.body
    await pool.execute("DELETE FROM ext_scheduler.rate_windows")
    await ask("delete", scheduleId=read(first)["scheduleId"])
    assert (await ask.send("create", HOURLY, jti)).body == first.body
    assert await ask("list") == {"schedules": []}


async def test_a_jti_is_scoped_to_its_install(ask: Caller, pool: asyncpg.Pool) -> None:
    jti = uuid4()
    mine = read(await ask.send("create", HOURLY, jti))
    other = Caller(ask.dispatcher, await install(pool))
    theirs = read(await other.send("create", {**HOURLY, "cron": "5 * * * *"}, jti))
    assert theirs["success"] is True
    assert theirs["scheduleId"] != mine["scheduleId"]


async def test_the_next_change_passes_at_the_stated_time_and_not_before(
    pool: asyncpg.Pool,
) -> None:
    start = datetime.fromisoformat("2026-03-01T00:00:00+00:00")
    now = start
    limits = Limits(changes_per_minute=2)
    served = dispatcher(pool, limits, clock=lambda _: now)
    ask = Caller(served, await install(pool))
    for second in (0, 20.0005):
        now = start + timedelta(seconds=second)
        assert (await ask("create", **HOURLY))["success"] is True
    now = start + timedelta(seconds=30.0004)
    wait = (await ask("create", **HOURLY))["retryAfterMs"]
    assert wait == 30_000  # 29,999.6 ms, and a millisecond too early would be refused
    now = start + timedelta(seconds=59.999)
    assert (await ask("create", **HOURLY))["retryAfterMs"] == 1
    now = start + timedelta(seconds=60)
    assert (await ask("create", **HOURLY))["success"] is True
    assert (await ask("create", **HOURLY))["retryAfterMs"] == 20_001


@pytest.mark.parametrize("encoding", list(Encoding))
async def test_the_largest_body_is_accepted_and_one_byte_more_is_refused(
    pool: asyncpg.Pool, encoding: Encoding
) -> None:
    ask = Caller(dispatcher(pool, UNLIMITED), await install(pool), encoding=encoding)
    frame = len(encode({**HOURLY, "unknown": "x" * 200_000}, encoding)) - 200_000
    for size, code in ((MAX_BODY_BYTES, None), (MAX_BODY_BYTES + 1, "VALIDATION_FAILED")):
        body = encode({**HOURLY, "unknown": "x" * (size - frame)}, encoding)
        assert len(body) == size
        assert read(await ask.send("create", body)).get("code") == code


async def test_an_update_resolves_a_bare_path_by_the_payload_it_leaves(pool: asyncpg.Pool) -> None:
    ask = Caller(dispatcher(pool, UNLIMITED), await install(pool))
    created = await ask("create", endpoint="/api/both", cron="0 * * * *", payload=[1])
    identity = created["scheduleId"]

    async def method_after(**fields: Any) -> str:
        assert await ask("update", scheduleId=identity, **fields) == {"success": True}
        shown = (await ask("get", scheduleId=identity))["schedule"]
        return str(shown["endpointMethod"])

    assert await method_after(payload=None) == "POST"  # nothing is resolved without an endpoint
    assert await method_after(endpoint="/api/both") == "GET"
    assert await method_after(payload={}) == "GET"
    assert await method_after(endpoint="/api/both") == "POST"
    assert await method_after(endpoint="/api/both", payload=None) == "GET"

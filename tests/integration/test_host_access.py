"""Who may ask: the context against the database, each refusal by its own test."""

import asyncio
import logging
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from contracts.subjects import ADMIN_AUDIENCE, CONTEXT_HEADER
from service.messages import Reply
from tests.support.eventually import eventually
from tests.support.host import Caller, dispatcher, read, request
from tests.support.keys import PLATFORM_KEY
from tests.support.platform import SCHEDULER, add_version, install, waits_for_a_lock

OPS = ("list", "get", "create", "update", "delete", "getEndpoints")


def refused(reply: Reply, code: str, number: int) -> None:
    assert read(reply)["code"] == code
    assert reply.error is not None
    assert reply.error[0] == number


@pytest.mark.parametrize("op", OPS)
async def test_a_request_without_context_is_refused(pool: asyncpg.Pool, op: str) -> None:
    reply = await dispatcher(pool).handle(request(op, b"", {}))
    refused(reply, "UNAUTHORIZED", 401)
    assert read(reply)["error"] == "Request is not authorized"


async def test_an_unknown_install_is_not_found(pool: asyncpg.Pool) -> None:
    ask = Caller(dispatcher(pool), await install(pool))
    refused(await ask.send("list", {}, install_id=uuid4(), tenant_id=None), "NOT_FOUND", 404)
    refused(await ask.send("create", {}, install_id=uuid4()), "NOT_FOUND", 404)


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize(
    "claims",
    [{"tenant_id": "tenant-2"}, {"version_id": str(uuid4())}, {"extension_id": str(uuid4())}],
    ids=["tenant", "version", "extension"],
)
async def test_claims_that_do_not_match_the_install_are_denied(
    pool: asyncpg.Pool, op: str, claims: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    ask = Caller(dispatcher(pool), await install(pool))
    reply = await ask.send(op, {}, **claims)
    refused(reply, "DENIED", 403)
    [line] = [record for record in caplog.records if record.getMessage() == "request"]
    assert line.__dict__["fields"]["reason"] == read(reply)["error"]


async def test_claims_that_match_the_install_pass(pool: asyncpg.Pool) -> None:
    installed = await install(pool)
    ask = Caller(dispatcher(pool), installed)
    reply = await ask.send(
        "list",
        {},
        version_id=str(installed.version_id),
        extension_id=str(installed.registry_id),
        providers=(" CAP:Scheduler.Manage ",),
    )
    assert reply.error is None
    assert (await ask.send("list", {}, tenant_id=None)).error is None


@pytest.mark.parametrize(
    "columns",
    [{"enabled": False}, {"status": "suspended"}, {"granted": ()}, {"declared": ("cap:log.emit",)}],
    ids=["disabled", "status", "not granted", "not declared"],
)
@pytest.mark.parametrize("op", OPS)
async def test_capabilities_come_from_the_database_not_from_the_claims(
    pool: asyncpg.Pool, op: str, columns: dict[str, Any]
) -> None:
    ask = Caller(dispatcher(pool), await install(pool, **columns))
    refused(await ask.send(op, {}), "DENIED", 403)


async def test_providers_of_the_execution_narrow_the_grant(pool: asyncpg.Pool) -> None:
    ask = Caller(dispatcher(pool), await install(pool))
    refused(await ask.send("list", {}, providers=("cap:log.emit",)), "DENIED", 403)
    refused(await ask.send("list", {}, providers=()), "DENIED", 403)


async def test_a_grant_in_the_install_config_counts(pool: asyncpg.Pool) -> None:
    installed = await install(pool, granted=None)
    await pool.execute(
        """INSERT INTO tenant_extension_install_config (install_id, tenant_id, providers)
           VALUES ($1, $2, $3)""",
        installed.install_id,
        installed.tenant_id,
        f'["{SCHEDULER}"]',
    )
    assert (await Caller(dispatcher(pool), installed).send("list", {})).error is None


async def test_a_declaration_is_a_grant_only_by_setting(pool: asyncpg.Pool) -> None:
    installed = await install(pool, granted=())
    refused(await Caller(dispatcher(pool), installed).send("list", {}), "DENIED", 403)
    lenient = dispatcher(pool, declared_is_granted=True)
    assert (await Caller(lenient, installed).send("list", {})).error is None


async def test_an_admin_key_cannot_ask_for_an_extension(pool: asyncpg.Pool) -> None:
    ask = Caller(dispatcher(pool), await install(pool), key=PLATFORM_KEY)
    refused(await ask.send("list", {}), "UNAUTHORIZED", 401)
    refused(await ask.send("list", {}, aud=ADMIN_AUDIENCE), "UNAUTHORIZED", 401)


async def test_a_token_for_another_operation_is_refused(pool: asyncpg.Pool) -> None:
    ask = Caller(dispatcher(pool), await install(pool))
    signed_for_get = await ask.send("list", {}, claimed_op="get")
    refused(signed_for_get, "UNAUTHORIZED", 401)


async def test_replies_carry_the_request_id_and_none_of_the_headers(pool: asyncpg.Pool) -> None:
    ask = Caller(dispatcher(pool), await install(pool))
    jti = uuid4()
    reply = await ask.send("list", {}, jti)
    assert reply.headers == {
        "Content-Type": "application/msgpack",
        "Ext-Request-Id": str(jti),
    }
    reply = await ask.dispatcher.handle(request("list", b"", {CONTEXT_HEADER: "x", "Other": "y"}))
    assert set(reply.headers) == {"Content-Type", "Ext-Request-Id"}


async def test_a_change_that_waited_for_an_update_uses_the_new_version(
    pool: asyncpg.Pool,
) -> None:
    installed = await install(pool)
    version_id = uuid4()
    await add_version(pool, installed.registry_id, version_id, declared=("cap:http.fetch",))
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(
            "UPDATE tenant_extension_install SET version_id = $2 WHERE id = $1",
            installed.install_id,
            version_id,
        )
        body = {"endpoint": "/api/heartbeat", "cron": "0 * * * *"}
        waiting = asyncio.create_task(Caller(dispatcher(pool), installed).send("create", body))
        await eventually(lambda: waits_for_a_lock(pool))
    refused(await waiting, "DENIED", 403)

"""From the bus to the Runner: what is posted, what is not, and that there is always a reply."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import uuid4

import pytest
from aiohttp import web
from nats.aio.client import Client

from devstack.embedded.servers import free_port
from runner_bridge.executor import Executor
from tests.support.callers import connected
from tests.support.executions import BODY, SUBJECT, ask, ask_result, body_with, executing, token
from tests.support.runner_double import RESULT, ReceivedCall, RunnerDouble, http_runner
from tests.support.tokens import KEYS


@pytest.fixture
async def bus(nats_url: str) -> AsyncIterator[Client]:
    async with connected(nats_url) as client:
        yield client


@pytest.fixture
async def stub() -> AsyncIterator[RunnerDouble]:
    async with http_runner() as stub:
        yield stub


@pytest.fixture
async def executor(nats_url: str, stub: RunnerDouble) -> AsyncIterator[Executor]:
    async with executing(nats_url, stub.url, margin_s=0.2) as executor:
        yield executor


async def test_a_verified_request_is_posted_unchanged(
    executor: Executor, bus: Client, stub: RunnerDouble
) -> None:
    jti = uuid4()
    reply = await ask(
        bus,
        Ext_Context=token(jti=jti),
        Ext_Idempotency_Key="occurrence-1",
        traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    )
    assert reply.data == RESULT
    [call] = stub.calls
    assert (call.http_request.path, call.body) == ("/v1/execute", BODY)
    wanted = {
        "content-type": "application/json",
        "x-request-id": str(jti),
        "x-idempotency-key": "occurrence-1:1",
        "x-alga-tenant": "tenant-1",
        "x-alga-extension": "7f0c8e9a-9a52-4e0b-8a43-0d6f3d8f0007",
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    }
    assert {name: call.headers.get(name) for name in wanted} == wanted
    assert "ext-context" not in call.headers


async def test_each_attempt_has_its_own_key_which_a_repeated_delivery_keeps(
    executor: Executor, bus: Client, stub: RunnerDouble
) -> None:
    for attempt in (1, 1, 2):
        await ask(bus, body_with(attempt=attempt), Ext_Idempotency_Key="occurrence-1")
    keys = [call.headers["x-idempotency-key"] for call in stub.calls]
    assert keys == ["occurrence-1:1", "occurrence-1:1", "occurrence-1:2"]


async def test_a_tenant_id_goes_into_its_header_as_utf8(
    executor: Executor, bus: Client, stub: RunnerDouble
) -> None:
    assert (await ask_result(bus, body_with(tenant_id="café"))).status == 200
    assert [call.headers["x-alga-tenant"] for call in stub.calls] == ["café"]


async def test_a_reply_shows_none_of_the_requests_headers(executor: Executor, bus: Client) -> None:
    jti = uuid4()
    reply = await ask(bus, Ext_Context=token(jti=jti), X_Secret="s")
    assert reply.headers == {"Content-Type": "application/json", "Ext-Request-Id": str(jti)}


async def test_an_error_that_the_runner_reports_is_forwarded(
    executor: Executor, bus: Client, stub: RunnerDouble
) -> None:
    document = {"status": 500, "headers": {}, "error": "guest trapped"}

    async def answer(_: ReceivedCall) -> web.StreamResponse:
        return web.json_response(document, status=500)

    stub.script = answer
    assert json.loads((await ask(bus)).data) == document


EXPIRED: dict[str, Any] = {"iat": int(time.time()) - 100, "exp": int(time.time()) - 40}
REFUSED: dict[str, Callable[[], str]] = {
    "no token": lambda: "",
    "garbage": lambda: "a.b.c",
    "a Runner's key": lambda: token(key=KEYS.keys["hs"]),
    "another audience": lambda: token(aud="ext.scheduler"),
    "another operation": lambda: token(op="create"),
    "another body": lambda: token(body=BODY + b" "),
    "another issuer": lambda: token(iss="somebody"),
    "too long a life": lambda: token(exp=int(time.time()) + 1000),
    "from the future": lambda: token(iat=int(time.time()) + 60),
}


@pytest.mark.parametrize("why", sorted(REFUSED))
async def test_a_refused_context_is_answered_and_not_posted(
    executor: Executor, bus: Client, stub: RunnerDouble, why: str
) -> None:
    answer = await ask_result(bus, Ext_Context=REFUSED[why]())
    assert (answer.status, answer.error) == (401, "Execute request is not authorized")
    assert not stub.calls


@pytest.mark.parametrize(
    "headers",
    [
        {"Ext_Deadline": "1700000000000"},
        {"Ext_Context": token(**EXPIRED)},
        {"Ext_Context": token(**EXPIRED), "Ext_Deadline": "9999999999999"},
        {"Ext_Context": token(iat=int(time.time()) - 60, exp=int(time.time()) - 1)},
    ],
)
async def test_a_request_past_its_deadline_is_not_posted(
    executor: Executor, bus: Client, stub: RunnerDouble, headers: dict[str, str]
) -> None:
    assert (await ask_result(bus, **headers)).status == 408
    assert not stub.calls


@pytest.mark.parametrize("deadline", ["soon", "9999999999999", "-5", "²"])
async def test_a_deadline_that_is_ahead_or_no_number_does_not_stop_a_request(
    executor: Executor, bus: Client, deadline: str
) -> None:
    assert (await ask_result(bus, Ext_Deadline=deadline)).status == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        body_with(timeout_ms=0),
        body_with(timeout_ms=-1),
        body_with(timeout_ms=10**12),
        body_with(tenant_id="a\r\nx-evil: 1"),
    ],
)
async def test_a_malformed_execute_request_is_answered_and_not_posted(
    executor: Executor, bus: Client, stub: RunnerDouble, body: bytes
) -> None:
    answer = await ask_result(bus, body)
    assert answer.status == 400
    assert answer.error
    assert not stub.calls


async def test_a_runner_that_is_down_is_an_error(nats_url: str, bus: Client) -> None:
    async with executing(nats_url, f"http://127.0.0.1:{free_port()}"):
        answer = await ask_result(bus)
    assert (answer.status, answer.error) == (
        502,
        "Runner cannot be reached: ClientConnectorError",
    )


async def test_a_slow_runner_is_an_error_in_time(
    executor: Executor, bus: Client, stub: RunnerDouble
) -> None:
    release = stub.hold()
    began = time.monotonic()
    answer = await ask_result(bus, body_with(timeout_ms=100))
    release.set()
    assert (answer.status, answer.error) == (504, "Runner did not answer in time")
    assert time.monotonic() - began < 30


def responding(**response: Any) -> Callable[[ReceivedCall], Awaitable[web.StreamResponse]]:
    async def answer(_: ReceivedCall) -> web.StreamResponse:
        return web.Response(**response)

    return answer


@pytest.mark.parametrize(
    "response",
    [
        {"body": b""},
        {"body": b"<html>", "status": 500},
        {"body": b"[]"},
        {"body": b'{"headers": {}}'},
        {"body": b'{"status": "200"}'},
        {"body": b'{"status": true}'},
        {"body": b'{"status": 200.0}'},
        {"body": b'{"status": 2e2}'},
        {"body": b'{"status": 4294967296}'},
        {"body": b'{"status": 18446744073709551616}'},
        {"body": b'{"status": 0}'},
        {"body": b'{"status": -1}'},
        {"body": b'{"status": 99}'},
        {"body": b'{"status": 600}'},
        {"body": b'{"status": 600, "error": "trapped"}'},
        {"body": RESULT, "status": 500},
        {"body": RESULT, "status": 302, "headers": {"location": "/elsewhere"}},
        {"body": RESULT, "headers": {"content-encoding": "gzip"}},
        {"body": b'{"status": 200, "body_b64": "' + b"A" * 262_144 + b'"}'},
    ],
    ids=repr,
)
async def test_a_malformed_runner_response_is_an_error(
    executor: Executor, bus: Client, stub: RunnerDouble, response: dict[str, Any]
) -> None:
    stub.script = responding(**response)
    answer = await ask_result(bus)
    assert answer.status == 502
    assert answer.error is not None
    assert answer.error.startswith("Runner answered")
    assert len(stub.calls) == 1


async def test_a_runner_that_hangs_up_is_an_error(
    executor: Executor, bus: Client, stub: RunnerDouble
) -> None:
    async def answer(_: ReceivedCall) -> web.StreamResponse:
        raise asyncio.CancelledError

    stub.script = answer
    assert (await ask_result(bus)).status == 502


async def test_a_response_of_the_maximum_size_is_forwarded(
    executor: Executor, bus: Client, stub: RunnerDouble
) -> None:
    frame = len(b'{"status":200,"body_b64":""}')
    largest = b'{"status":200,"body_b64":"%s"}' % (b"A" * (262_144 - frame))
    stub.script = responding(body=largest)
    assert (await ask(bus)).data == largest


@pytest.mark.parametrize("reply_to", ["", "ext.scheduler.create"])
async def test_a_request_with_another_reply_subject_than_an_inbox_is_dropped(
    executor: Executor, bus: Client, stub: RunnerDouble, reply_to: str
) -> None:
    await bus.publish(SUBJECT, BODY, reply=reply_to, headers={"Ext-Context": token()})
    assert (await ask_result(bus)).status == 200  # in order: the other one came first
    assert len(stub.calls) == 1

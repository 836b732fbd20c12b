"""The signing client against a real bus: what is sent, what comes back, what is sent again."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from msgspec import structs
from nats.aio.client import Client

from contracts.context import body_sha256, signing_key
from contracts.encoding import Encoding, MalformedBody, decode_map
from contracts.errors import Code, ErrorBody, ServiceError
from contracts.schedules import (
    HOST_OPS,
    CreateInput,
    CreateOutput,
    DeleteInput,
    GetInput,
    UpdateInput,
)
from contracts.subjects import (
    CONTENT_TYPE_HEADER,
    DEADLINE_HEADER,
    TRACE_HEADER,
)
from runner_bridge.client import InstallContext, SchedulerHost
from runner_bridge.requests import RequestSettings, SignedRequests
from tests.support.callers import connected
from tests.support.scheduler_stub import SchedulerStub, claims_of, header, scheduler_stub
from tests.support.tokens import HOST, KEYS
from tests.wire.samples_host import HOST_SAMPLES, SCHEDULE_ID

INSTALL = InstallContext(
    install_id=UUID(int=7),
    tenant_id="tenant-1",
    version_id="version-1",
    extension_id="extension-1",
    providers=("cap:scheduler.manage",),
)
# Quick to ask again, and patient with every attempt: a second one would be a finding.
PATIENT = RequestSettings(
    attempt_timeout_s=60.0,
    total_timeout_s=60.0,
    first_delay_s=0.01,
    max_delay_s=0.02,
)
HASTY = structs.replace(PATIENT, attempt_timeout_s=0.2)
UNAVAILABLE = ErrorBody(code=Code.UNAVAILABLE, error="Busy")
CREATE = CreateInput(endpoint="/api/x", cron="0 * * * *")
CREATED = CreateOutput(success=True)


@pytest.fixture
async def bus(nats_url: str) -> AsyncIterator[Client]:
    async with connected(nats_url) as client:
        yield client


@pytest.fixture
async def service(nats_url: str) -> AsyncIterator[SchedulerStub]:
    async with scheduler_stub(nats_url) as stub:
        yield stub


def host_on(
    connection: Client, settings: RequestSettings = PATIENT, **options: Any
) -> SchedulerHost:
    requests = SignedRequests(connection, lambda: signing_key(KEYS, HOST), settings)
    return SchedulerHost(requests, INSTALL, **options)


CALLS: dict[str, Callable[[SchedulerHost], Awaitable[object]]] = {
    "list": lambda host: host.list(),
    "get": lambda host: host.get(GetInput(SCHEDULE_ID)),
    "create": lambda host: host.create(CREATE),
    "update": lambda host: host.update(UpdateInput(schedule_id=SCHEDULE_ID, name=None)),
    "delete": lambda host: host.delete(DeleteInput(SCHEDULE_ID)),
    "getEndpoints": lambda host: host.get_endpoints(),
}


def test_every_operation_has_a_method_of_its_name() -> None:
    assert set(CALLS) == set(HOST_OPS)
    for op in HOST_OPS:
        assert callable(getattr(SchedulerHost, re.sub("[A-Z]", lambda c: "_" + c[0].lower(), op)))


@pytest.mark.parametrize("encoding", Encoding)
@pytest.mark.parametrize("op", sorted(CALLS))
async def test_an_operation_gives_its_typed_output(
    bus: Client, service: SchedulerStub, op: str, encoding: Encoding
) -> None:
    host = host_on(bus, structs.replace(PATIENT, encoding=encoding))
    assert await CALLS[op](host) == HOST_SAMPLES[op][1]
    [message] = service.messages
    assert header(message, CONTENT_TYPE_HEADER) == encoding.value
    claims = claims_of(message)
    assert claims.body_sha256 == body_sha256(message.data)
    assert (claims.iss, claims.install_id, claims.tenant_id) == ("runner", UUID(int=7), "tenant-1")
    assert (claims.version_id, claims.extension_id) == ("version-1", "extension-1")
    assert claims.providers == ("cap:scheduler.manage",)
    assert claims.exp - claims.iat == 60


async def test_the_deadline_is_that_of_the_attempt(bus: Client, service: SchedulerStub) -> None:
    before = time.time()
    await host_on(bus, traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").list()
    [message] = service.messages
    assert before + 59.95 < int(header(message, DEADLINE_HEADER)) / 1000 < time.time() + 60.05
    assert (
        header(message, TRACE_HEADER) == "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    )


async def test_a_negative_result_is_a_result(bus: Client, service: SchedulerStub) -> None:
    negative = CreateOutput(
        success=False,
        code=Code.VALIDATION_FAILED,
        error="Required",
        field_errors={"cron": "Required"},
    )
    service.answer = lambda _: negative
    assert await host_on(bus).create(CREATE) == negative


async def test_unchecked_fields_reach_the_service_unchanged(
    bus: Client, service: SchedulerStub
) -> None:
    outcome = await host_on(bus).call("create", {"endpoint": 7, "cron": None, "more": [1]})
    assert isinstance(outcome, CreateOutput)
    [message] = service.messages
    assert decode_map(message.data, Encoding.MSGPACK) == {"endpoint": 7, "cron": None, "more": [1]}


@pytest.mark.parametrize("code", sorted(set(Code) - {Code.UNAVAILABLE}))
async def test_a_service_error_is_raised_at_once(
    bus: Client, service: SchedulerStub, code: Code
) -> None:
    service.answer = lambda _: ErrorBody(code=code, error="No", retry_after_ms=1500)
    with pytest.raises(ServiceError) as caught:
        await host_on(bus).create(CREATE)
    assert (caught.value.code, caught.value.message) == (code, "No")
    assert caught.value.retry_after_ms == 1500
    assert caught.value.request_id == str(service.claims()[0].jti)
    assert len(service.messages) == 1


async def test_the_negative_result_of_a_read_is_raised(bus: Client, service: SchedulerStub) -> None:
    body = msgspec.to_builtins(ErrorBody(code=Code.NOT_FOUND, error="No such thing"))
    service.answer = lambda _: body
    with pytest.raises(ServiceError, match="NOT_FOUND"):
        await host_on(bus).list()


async def test_a_client_retries_unavailable_with_the_same_jti(
    bus: Client, service: SchedulerStub
) -> None:
    service.answer = lambda _: UNAVAILABLE if len(service.messages) < 4 else CREATED
    assert (await host_on(bus).create(CREATE)).success
    assert len(service.messages) == 4
    assert len({claims.jti for claims in service.claims()}) == 1
    assert len({message.data for message in service.messages}) == 1


async def test_a_client_retries_a_timeout_with_the_same_jti_and_a_later_deadline(
    bus: Client, service: SchedulerStub
) -> None:
    service.answer = lambda _: None if len(service.messages) < 2 else CREATED
    assert (await host_on(bus, HASTY).create(CREATE)).success
    first, second, *_ = service.messages
    assert claims_of(first).jti == claims_of(second).jti
    assert int(header(first, DEADLINE_HEADER)) < int(header(second, DEADLINE_HEADER))


async def test_a_client_retries_until_a_starting_service_answers(
    bus: Client, nats_url: str
) -> None:
    asked = asyncio.create_task(host_on(bus).create(CREATE))
    async with scheduler_stub(nats_url):
        assert (await asked).success


async def test_each_attempt_signs_with_the_key_of_the_moment(
    bus: Client, service: SchedulerStub
) -> None:
    kids = iter(["hs", "ed"])
    service.answer = lambda _: UNAVAILABLE if len(service.messages) < 2 else CREATED
    requests = SignedRequests(bus, lambda: KEYS.keys[next(kids)], PATIENT)
    assert (await SchedulerHost(requests, INSTALL).create(CREATE)).success
    assert len({claims.jti for claims in service.claims()}) == 1


async def test_an_earlier_request_can_be_repeated_by_its_jti(
    bus: Client, service: SchedulerStub
) -> None:
    jti = uuid4()
    service.answer = lambda _: CREATED
    host = host_on(bus)
    await host.create(CREATE, jti=jti)
    await host.create(CREATE, jti=jti)
    await host.create(CREATE)
    first, second, third = service.claims()
    assert first.jti == second.jti == jti != third.jti


@pytest.mark.parametrize("answer", [None, UNAVAILABLE])
async def test_the_time_for_a_request_is_bounded(
    bus: Client, service: SchedulerStub, answer: object
) -> None:
    service.answer = lambda _: answer
    began = time.monotonic()
    with pytest.raises(ServiceError) as caught:
        await host_on(bus, structs.replace(HASTY, total_timeout_s=3.0)).list()
    assert caught.value.code is Code.UNAVAILABLE
    assert time.monotonic() - began < 30
    assert len(service.messages) > 1


async def test_a_request_without_a_responder_is_unavailable(bus: Client) -> None:
    with pytest.raises(ServiceError, match="No scheduler service is running"):
        await host_on(bus, structs.replace(PATIENT, first_delay_s=60.0)).list()


async def test_a_closed_connection_is_unavailable_at_once(bus: Client) -> None:
    await bus.close()
    with pytest.raises(ServiceError) as caught:
        await host_on(bus, structs.replace(PATIENT, total_timeout_s=60.0)).list()
    assert caught.value.code is Code.UNAVAILABLE


@pytest.mark.parametrize("answer", [b"", b"\xc1", b"\x90", b"\x81\xa1a\x01"])
async def test_an_answer_that_cannot_be_read_is_an_internal_error(
    bus: Client, service: SchedulerStub, answer: bytes
) -> None:
    service.answer = lambda _: answer
    with pytest.raises(ServiceError) as caught:
        await host_on(bus).list()
    assert caught.value.code is Code.INTERNAL


@pytest.mark.parametrize("payload", [{"a": "x" * 300_000}, {"a": "\ud800"}, {"a": object()}])
async def test_a_request_that_cannot_be_encoded_is_refused_without_sending(
    bus: Client, service: SchedulerStub, payload: dict[str, Any]
) -> None:
    with pytest.raises(ServiceError) as caught:
        await host_on(bus).create(msgspec.structs.replace(CREATE, payload=payload))
    assert caught.value.code is Code.VALIDATION_FAILED
    assert not isinstance(caught.value.__cause__, MalformedBody)
    assert not service.messages

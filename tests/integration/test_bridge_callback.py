"""The callback of an unmodified Runner, over HTTP to a real bus, and what is forwarded past it."""

from collections.abc import AsyncIterator
from io import BytesIO
from typing import Any

import msgspec
import pytest
from aiohttp import ClientResponse, ClientSession

from contracts.context import signing_key
from contracts.encoding import Encoding, decode_map
from contracts.errors import NUMBERS, Code, ErrorBody
from contracts.schedules import CreateOutput, GetOutput, ListOutput, ScheduleInfo, UpdateOutput
from runner_bridge.callback import MAX_BODY_BYTES, CallbackHandler
from runner_bridge.requests import RequestSettings, SignedRequests
from runner_bridge.sidecar import serving
from service.rules.payload import check
from tests.support.callers import connected
from tests.support.runner_double import RunnerDouble, http_runner
from tests.support.scheduler_stub import SchedulerStub, claims_of, header, op_of, scheduler_stub
from tests.support.tokens import HOST, KEYS
from tests.wire.samples_host import EMPTY_SCHEDULE, INSTALL_ID, SCHEDULE, SCHEDULE_ID

TOKEN = "shared-token"
PATH = f"/api/internal/ext-scheduler/install/{INSTALL_ID}"
# Asked a single time, however long the answer takes.
ONCE = RequestSettings(
    attempt_timeout_s=60.0,
    total_timeout_s=60.0,
    first_delay_s=60.0,
    max_delay_s=60.0,
)


class Runner:
    """Calls the sidecar as a Runner does."""

    def __init__(self, session: ClientSession, url: str) -> None:
        self.session = session
        self.url = url

    async def send(
        self, body: object, path: str = PATH, token: str | None = TOKEN
    ) -> ClientResponse:
        headers = {} if token is None else {"x-runner-auth": token}
        data = body if isinstance(body, bytes) else msgspec.json.encode(body)
        return await self.session.post(self.url + path, data=BytesIO(data), headers=headers)

    async def ask(self, operation: str, **fields: Any) -> dict[str, Any]:
        response = await self.send({"operation": operation} | fields)
        assert response.status == 200
        assert response.content_type == "application/json"
        answer: dict[str, Any] = await response.json()
        return answer


@pytest.fixture
async def service(nats_url: str) -> AsyncIterator[SchedulerStub]:
    async with scheduler_stub(nats_url) as stub:
        yield stub


@pytest.fixture
async def platform() -> AsyncIterator[RunnerDouble]:
    async with http_runner() as stub:
        yield stub


@pytest.fixture
async def runner(nats_url: str, platform: RunnerDouble) -> AsyncIterator[Runner]:
    async with connected(nats_url) as client, ClientSession() as session:
        requests = SignedRequests(client, lambda: signing_key(KEYS, HOST), ONCE)
        async with serving(CallbackHandler(requests, TOKEN), platform.url) as url:
            yield Runner(session, url)


@pytest.mark.parametrize("op", ["list", "get", "create", "update", "delete", "getEndpoints"])
async def test_an_operation_goes_to_the_bus_for_the_install_of_the_path(
    runner: Runner, service: SchedulerStub, op: str
) -> None:
    await runner.ask(op, scheduleId=SCHEDULE_ID)
    [message] = service.messages
    assert op_of(message) == op
    assert str(claims_of(message).install_id) == INSTALL_ID
    assert decode_map(message.data, Encoding.MSGPACK) == {"scheduleId": SCHEDULE_ID}


async def test_null_members_are_left_out_but_not_those_of_a_payload(
    runner: Runner, service: SchedulerStub
) -> None:
    empty, full = ScheduleInfo(**EMPTY_SCHEDULE), ScheduleInfo(**SCHEDULE)
    service.answer = lambda _: ListOutput([empty, full])
    first, second = (await runner.ask("list"))["schedules"]
    assert None not in first.values()
    assert "name" not in first
    assert second["payload"] == {"n": 1, "x": 1.5, "list": [None, True, "é"]}
    service.answer = lambda _: GetOutput(None)
    assert await runner.ask("get", scheduleId=SCHEDULE_ID) == {}
    service.answer = lambda _: GetOutput(empty)
    assert None not in (await runner.ask("get", scheduleId=SCHEDULE_ID))["schedule"].values()
    service.answer = lambda _: CreateOutput(success=True, schedule_id=SCHEDULE_ID)
    assert await runner.ask("create") == {"success": True, "scheduleId": SCHEDULE_ID}


async def test_field_errors_reach_the_extension(runner: Runner, service: SchedulerStub) -> None:
    service.answer = lambda _: UpdateOutput(
        success=False, code=Code.CONFLICT, error="Taken", field_errors={"name": "Taken"}
    )
    assert await runner.ask("update", scheduleId=SCHEDULE_ID, name="x") == {
        "success": False,
        "code": "CONFLICT",
        "error": "Taken",
        "fieldErrors": {"name": "Taken"},
    }


@pytest.mark.parametrize(
    ("operation", "text", "sent"),
    [
        ("create", '{"a": [1, 1.0, null]}', {"a": [1, 1.0, None]}),
        ("create", "null", None),
        ("update", "[]", []),
        ("update", "", None),
        ("create", "", ""),
        ("update", "{broken", "{broken"),
        ("update", '"text"', "text"),
        ("create", "[" * 50_000, "[" * 50_000),
    ],
)
async def test_a_payload_in_a_string_is_json_text(
    runner: Runner, service: SchedulerStub, operation: str, text: str, sent: object
) -> None:
    await runner.ask(operation, payload=text)
    assert decode_map(service.messages[0].data, Encoding.MSGPACK) == {"payload": sent}


async def test_a_payload_that_is_not_a_string_is_sent_unchanged(
    runner: Runner, service: SchedulerStub
) -> None:
    await runner.ask("update", payload={"a": 1}, name=None)
    sent = decode_map(service.messages[0].data, Encoding.MSGPACK)
    assert sent == {"payload": {"a": 1}, "name": None}


@pytest.mark.parametrize("payload", ["[18446744073709551616]", {"a": 2**64}, [-(2**63) - 1]])
async def test_a_payload_that_the_bus_cannot_carry_is_refused_by_the_service(
    runner: Runner, service: SchedulerStub, payload: object
) -> None:
    await runner.ask("create", payload=payload, name="n")
    sent = decode_map(service.messages[0].data, Encoding.MSGPACK)
    assert sent["name"] == "n"
    assert check(sent["payload"]) == "Payload must be JSON-serializable"


@pytest.mark.parametrize("code", sorted(set(Code) - {Code.UNAVAILABLE}))
async def test_a_service_error_has_its_number_as_status(
    runner: Runner, service: SchedulerStub, code: Code
) -> None:
    service.answer = lambda _: ErrorBody(code=code, error="No")
    response = await runner.send({"operation": "create"})
    assert response.status == NUMBERS[code]
    assert await response.json() == {"success": False, "code": code, "error": "No"}


async def test_a_callback_without_a_running_service_is_answered_503(runner: Runner) -> None:
    response = await runner.send({"operation": "list"})
    assert response.status == 503
    assert (await response.json())["code"] == "UNAVAILABLE"


@pytest.mark.parametrize("token", [None, "", "shared-toke", "shared-token ", "shared-tokenx", "ü"])
async def test_a_wrong_token_is_refused_before_anything_is_read(
    runner: Runner, service: SchedulerStub, token: str | None
) -> None:
    response = await runner.send(b"not even JSON", token=token)
    if token == "shared-token ":  # white space around a header's value is not part of it
        assert response.status == 400
        return
    assert response.status == 401
    assert (await response.json())["code"] == "UNAUTHORIZED"
    assert not service.messages


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "not valid JSON"),
        (b"[]", "must be a map"),
        (b"", "Unknown operation"),
        (b"{}", "Unknown operation"),
        ({"operation": "runNow"}, "Unknown operation"),
        ({"operation": ["list"]}, "Unknown operation"),
        (b" " * (MAX_BODY_BYTES + 1), "too large"),
        ({"operation": "create", "payload": "x" * 300_000}, "too large"),
    ],
    ids=lambda value: str(value)[:30],
)
async def test_a_malformed_callback_is_answered_400(
    runner: Runner, service: SchedulerStub, body: object, words: str
) -> None:
    response = await runner.send(body)
    assert response.status == 400
    assert words in (await response.json())["error"]
    assert not service.messages


async def test_a_callback_for_a_malformed_install_id_is_answered_404(runner: Runner) -> None:
    path = "/api/internal/ext-scheduler/install/nobody"
    assert (await runner.send({"operation": "list"}, path)).status == 404


async def test_a_callback_without_a_token_is_not_built(nats_url: str) -> None:
    async with connected(nats_url) as client:
        with pytest.raises(ValueError, match="needs a token"):
            CallbackHandler(SignedRequests(client, lambda: signing_key(KEYS, HOST)), "")


async def test_a_callback_forwards_the_trace_context(
    runner: Runner, service: SchedulerStub
) -> None:
    await runner.session.post(
        runner.url + PATH,
        json={"operation": "list"},
        headers={
            "x-runner-auth": TOKEN,
            "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        },
    )
    assert (
        header(service.messages[0], "traceparent")
        == "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    )

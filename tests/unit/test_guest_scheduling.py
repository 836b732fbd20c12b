"""From a guest's values to the service's operations, and back."""

import json
import logging
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from contracts.errors import Code, ServiceError
from contracts.schedules import (
    CreateInput,
    DeleteInput,
    GetInput,
    UpdateInput,
)
from runner_bridge.dev_runner.interface import OFFERED, SCHEDULER
from runner_bridge.dev_runner.scheduling import BAD_PAYLOAD, call, refused
from service.cli.dev_runner import suggestions
from service.runtime.settings import Settings
from tests.support.scheduling import ENDPOINTS, MemoryScheduler, schedule_info

CREATE = {"endpoint": "POST /a", "cron": "0 * * * *"} | dict.fromkeys(
    ["timezone", "enabled", "name", "payload"]
)
UPDATE = dict.fromkeys(["endpoint", "cron", "timezone", "enabled", "name", "payload"])
CHANGES: dict[str, list[Any]] = {
    "create-schedule": [CREATE],
    "update-schedule": ["x", UPDATE],
    "delete-schedule": ["x"],
}
READS: dict[str, list[Any]] = {"list-schedules": [], "get-schedule": ["x"], "get-endpoints": []}


@pytest.fixture
def scheduler() -> MemoryScheduler:
    return MemoryScheduler()


def test_every_function_of_the_interface_is_tried_here() -> None:
    assert OFFERED[SCHEDULER] == {*CHANGES, *READS}


async def test_a_schedule_becomes_the_record(scheduler: MemoryScheduler) -> None:
    scheduler.schedules = [schedule_info(payload={"text": "ü", "list": [1, 2.0]})]
    record = (await call(scheduler, "list-schedules", []))["ok"][0]
    assert {
        "id": scheduler.schedules[0].id,
        "endpoint-path": "/api/heartbeat",
        "endpoint-method": "POST",
        "name": "heartbeat",
        "cron": "*/5 * * * *",
        "timezone": "UTC",
        "enabled": True,
        "payload": '{"text":"ü","list":[1,2.0]}',
        "last-run-at": "2026-01-01T00:00:00.000Z",
        "last-run-status": "success",
        "last-error": None,
        "created-at": "2026-01-01T00:00:00.000Z",
    }.items() <= record.items()


async def test_get_returns_one_schedule_or_none(scheduler: MemoryScheduler) -> None:
    scheduler.schedules = [schedule_info(payload=None)]
    schedule_id = scheduler.schedules[0].id
    assert (await call(scheduler, "get-schedule", [schedule_id]))["ok"]["payload"] is None
    assert await call(scheduler, "get-schedule", ["other"]) == {"ok": None}
    assert scheduler.requests == [GetInput(schedule_id), GetInput("other")]


async def test_endpoints_become_records(scheduler: MemoryScheduler) -> None:
    answer = await call(scheduler, "get-endpoints", [])
    assert answer == {"ok": [msgspec.structs.asdict(endpoint) for endpoint in ENDPOINTS]}


@pytest.mark.parametrize(
    ("text", "payload"),
    [
        (None, None),
        ("null", None),
        ('{"a": [1, 1.5, "ü", null]}', {"a": [1, 1.5, "ü", None]}),
        (" [] ", []),
        ("5", 5),
        ('"text"', "text"),
    ],
)
async def test_a_payload_text_is_read_as_json(
    scheduler: MemoryScheduler, text: str | None, payload: Any
) -> None:
    result = await call(scheduler, "create-schedule", [CREATE | {"payload": text}])
    assert result["success"]
    [request] = scheduler.requests
    assert request == CreateInput(endpoint="POST /a", cron="0 * * * *", payload=payload)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "NaN",
        "[Infinity]",
        "{'a': 1}",
        "[" * 100_000,
        "1" * 5_000,
        "[1e20, 100000000000000000000]",
        '["\\ud800"]',
    ],
)
async def test_a_payload_text_that_is_no_json_is_a_field_error(
    scheduler: MemoryScheduler, text: str
) -> None:
    result = await call(scheduler, "create-schedule", [CREATE | {"payload": text}])
    assert result["success"] is False
    assert result["error"] == "Payload must be JSON-serializable"
    assert json.loads(result["field-errors"]) == {"payload": BAD_PAYLOAD}
    assert scheduler.requests == []


async def test_fields_absent_from_an_update_are_unchanged(scheduler: MemoryScheduler) -> None:
    assert (await call(scheduler, "update-schedule", ["x", UPDATE]))["success"]
    assert scheduler.requests == [UpdateInput(schedule_id="x")]


async def test_the_payload_text_null_in_an_update_clears_it(scheduler: MemoryScheduler) -> None:
    await call(scheduler, "update-schedule", ["x", UPDATE | {"payload": "null"}])
    assert scheduler.requests == [UpdateInput(schedule_id="x", payload=None)]


async def test_an_empty_payload_text_in_an_update_is_refused(scheduler: MemoryScheduler) -> None:
    result = await call(scheduler, "update-schedule", ["x", UPDATE | {"payload": ""}])
    assert json.loads(result["field-errors"]) == {"payload": BAD_PAYLOAD}
    assert scheduler.requests == []


@given(
    given=st.fixed_dictionaries(
        {
            "endpoint": st.none() | st.text(),
            "cron": st.none() | st.text(),
            "timezone": st.none() | st.text(),
            "enabled": st.none() | st.booleans(),
            "name": st.none() | st.text(),
        }
    )
)
async def test_fields_of_an_update_reach_the_scheduler(given: dict[str, Any]) -> None:
    scheduler = MemoryScheduler()
    await call(scheduler, "update-schedule", ["x", UPDATE | given])
    [request] = scheduler.requests
    assert {name: getattr(request, name) for name in given} == {
        name: UNSET if value is None else value for name, value in given.items()
    }


@pytest.mark.parametrize(("function", "arguments"), CHANGES.items())
async def test_a_negative_outcome_arrives_with_its_field_errors(
    scheduler: MemoryScheduler, function: str, arguments: list[Any]
) -> None:
    scheduler.outcome = {
        "success": False,
        "code": Code.VALIDATION_FAILED,
        "error": "Schedule not found",
        "field_errors": {"cron": "Schedule not found"},
    }
    result = await call(scheduler, function, arguments)
    assert result["success"] is False
    assert result["error"] == "Schedule not found"
    if function != "delete-schedule":
        assert json.loads(result["field-errors"]) == {"cron": "Schedule not found"}


async def test_a_positive_outcome_has_no_error(scheduler: MemoryScheduler) -> None:
    result = await call(scheduler, "create-schedule", [CREATE])
    assert result == {
        "success": True,
        "schedule-id": "00000000-0000-4000-8000-000000000001",
        "error": None,
        "field-errors": None,
    }
    assert await call(scheduler, "delete-schedule", [result["schedule-id"]]) == {
        "success": True,
        "error": None,
        "field-errors": None,
    }
    assert scheduler.requests[1] == DeleteInput(result["schedule-id"])


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (Code.NOT_FOUND, "not-found"),
        (Code.VALIDATION_FAILED, "validation-failed"),
        (Code.QUOTA_EXCEEDED, "quota-exceeded"),
        (Code.RATE_LIMITED, "quota-exceeded"),
        (Code.DENIED, "denied"),
        (Code.UNAUTHORIZED, "denied"),
        (Code.CONFLICT, "internal"),
        (Code.INTERNAL, "internal"),
        (Code.UNAVAILABLE, "internal"),
        (Code.INSTALL_DISABLED, "internal"),
        (Code.SCHEDULE_REMAP_FAILED, "internal"),
    ],
)
async def test_a_refusal_becomes_an_error_code_or_a_text(
    scheduler: MemoryScheduler, code: Code, error: str
) -> None:
    scheduler.refusal = ServiceError(code, "not now")
    for function, arguments in READS.items():
        assert await call(scheduler, function, arguments) == {"err": error}
    for function, arguments in CHANGES.items():
        result = await call(scheduler, function, arguments)
        assert (result["success"], result["error"]) == (False, "not now")
        assert result == refused(function, code, "not now")


def logged_hints(caplog: pytest.LogCaptureFixture) -> Any:
    [record] = [r for r in caplog.records if r.getMessage() == "scheduler change refused"]
    return record.__dict__["fields"]


@pytest.mark.parametrize(
    ("field", "text", "hint"),
    [
        ("cron", "@daily", "accepted would be: 0 0 * * *"),
        ("cron", "0 9 * * mon", "accepted would be: 0 9 * * 1"),
        ("timezone", "europe/berlin", "accepted would be: Europe/Berlin"),
        ("endpoint", "GET /api/heartbeat", "declared as POST"),
        ("endpoint", "/api/setup", "declared as POST, but not schedulable"),
        ("endpoint", "POST api/heartbeats", "declared is /api/heartbeat"),
    ],
)
@pytest.mark.parametrize("function", ["create-schedule", "update-schedule"])
async def test_the_log_has_a_hint_beside_a_refused_field(
    scheduler: MemoryScheduler,
    caplog: pytest.LogCaptureFixture,
    function: str,
    field: str,
    text: str,
    hint: str,
) -> None:
    caplog.set_level(logging.INFO)
    scheduler.outcome = {"success": False, "error": "Refused", "field_errors": {field: "Refused"}}
    arguments = [*CHANGES[function][:-1], {**CREATE, field: text}]
    answer = await call(scheduler, function, arguments, suggestions(Settings()))
    assert answer["error"] == "Refused", "the answer is the service's, without any hint"
    assert logged_hints(caplog) == {
        "function": function,
        "reason": "Refused",
        "field_errors": {field: "Refused"},
        "hints": {field: hint},
    }


async def test_where_nothing_close_is_accepted_there_is_no_hint(
    scheduler: MemoryScheduler, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    errors = dict.fromkeys(("cron", "timezone", "endpoint", "name"), "Refused")
    scheduler.outcome = {"success": False, "error": "Refused", "field_errors": errors}
    refused_fields = {**CREATE, "cron": "?", "timezone": "Nowhere", "endpoint": "GET /zzz"}
    await call(scheduler, "create-schedule", [refused_fields], suggestions(Settings()))
    assert logged_hints(caplog)["hints"] == {}


async def test_the_log_has_the_reason_of_a_denial(
    scheduler: MemoryScheduler, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    scheduler.refusal = ServiceError(Code.DENIED, "Install is disabled")
    assert await call(scheduler, "list-schedules", []) == {"err": "denied"}
    [record] = caplog.records
    assert record.__dict__["fields"] == {
        "function": "list-schedules",
        "code": Code.DENIED,
        "reason": "Install is disabled",
    }

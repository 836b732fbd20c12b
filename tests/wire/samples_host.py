"""Samples of host operations, errors, events and executions: what the golden files hold."""

from typing import Any

from msgspec import Struct

from contracts import events, execution
from contracts import schedules as host
from contracts.errors import Code, ErrorBody

SCHEDULE_ID = "7f0c8e9a-9a52-4e0b-8a43-0d6f3d8f0001"
INSTALL_ID = "7f0c8e9a-9a52-4e0b-8a43-0d6f3d8f0002"
ENDPOINT_ID = "7f0c8e9a-9a52-4e0b-8a43-0d6f3d8f0003"
VERSION_ID = "7f0c8e9a-9a52-4e0b-8a43-0d6f3d8f0004"
RUN_ID = "7f0c8e9a-9a52-4e0b-8a43-0d6f3d8f0005"
REQUEST_ID = "7f0c8e9a-9a52-4e0b-8a43-0d6f3d8f0006"
TENANT_ID = "tenant-1"

SCHEDULE: dict[str, Any] = {
    "id": SCHEDULE_ID,
    "endpoint_path": "/api/heartbeat",
    "endpoint_method": "POST",
    "name": "Heartbeat täglich",
    "cron": "30 1 * * *",
    "timezone": "Europe/Berlin",
    "enabled": True,
    "payload": {"n": 1, "x": 1.5, "list": [None, True, "é"]},
    "last_run_at": "2026-03-28T00:30:00.012Z",
    "last_run_status": "success",
    "last_error": None,
    "created_at": "2026-03-01T12:00:00.000Z",
    "updated_at": "2026-03-02T12:00:00.500Z",
    "next_run_at": "2026-03-29T00:30:00.000Z",
    "revision": 3,
}
EMPTY_SCHEDULE = SCHEDULE | {
    "name": None,
    "enabled": False,
    "payload": None,
    "last_run_at": None,
    "last_run_status": None,
    "next_run_at": None,
    "revision": 1,
}
ENDPOINT = host.EndpointInfo(
    id=ENDPOINT_ID, method="POST", path="/api/heartbeat", handler="heartbeat", schedulable=True
)

HOST_SAMPLES: dict[str, tuple[Struct, Struct]] = {
    "list": (
        host.ListInput(),
        host.ListOutput([host.ScheduleInfo(**SCHEDULE), host.ScheduleInfo(**EMPTY_SCHEDULE)]),
    ),
    "get": (host.GetInput(SCHEDULE_ID), host.GetOutput(None)),
    "create": (
        host.CreateInput(endpoint="POST /api/heartbeat", cron="*/5 * * * *", payload={"n": 1}),
        host.CreateOutput(success=True, schedule_id=SCHEDULE_ID),
    ),
    "update": (
        host.UpdateInput(schedule_id=SCHEDULE_ID, enabled=False, name=None, expected_revision=3),
        host.UpdateOutput(
            success=False,
            code=Code.VALIDATION_FAILED,
            error="Invalid timezone",
            field_errors={"timezone": "Invalid timezone"},
        ),
    ),
    "delete": (host.DeleteInput(SCHEDULE_ID), host.DeleteOutput(success=True)),
    "getEndpoints": (host.GetEndpointsInput(), host.GetEndpointsOutput([ENDPOINT])),
}

ERROR_SAMPLES: dict[str, ErrorBody] = {
    code.value: ErrorBody(code=code, error="What a person reads") for code in Code
} | {
    "RATE_LIMITED": ErrorBody(
        code=Code.RATE_LIMITED, error="Too many changes", retry_after_ms=12_345
    ),
    "CONFLICT": ErrorBody(
        code=Code.CONFLICT,
        error="Schedule name already in use for this extension",
        field_errors={"name": "Schedule name already in use for this extension"},
    ),
}

EVENT_SAMPLES: dict[str, events.Event] = {
    kind.value: events.Event(
        id=REQUEST_ID,
        type=kind,
        tenant_id=TENANT_ID,
        install_id=INSTALL_ID,
        at="2026-03-29T00:30:01.000Z",
        data={"revision": 2},
        **({"schedule_id": SCHEDULE_ID} if not kind.startswith("install") else {}),
        **({"run_id": RUN_ID} if kind.startswith("run") else {}),
    )
    for kind in events.EventType
}

EXECUTE_SAMPLES: dict[str, Struct] = {
    "request": execution.ExecuteRequest(
        context=execution.ExecuteContext(
            request_id=REQUEST_ID,
            tenant_id=TENANT_ID,
            extension_id="7f0c8e9a-9a52-4e0b-8a43-0d6f3d8f0007",
            install_id=INSTALL_ID,
            version_id=VERSION_ID,
            content_hash="sha256:" + "ab" * 32,
            config={"apiUrl": "https://example.com", "retries": "3"},
            trigger="schedule",
            schedule_id=SCHEDULE_ID,
            scheduled_for="2026-03-29T00:30:00.000Z",
            attempt=1,
        ),
        http=execution.ExecuteHttp(
            method="POST",
            path="/api/heartbeat",
            headers={
                "x-alga-tenant": TENANT_ID,
                "x-alga-extension": "7f0c8e9a-9a52-4e0b-8a43-0d6f3d8f0007",
                "x-alga-schedule-id": SCHEDULE_ID,
                "x-alga-schedule-name": "Heartbeat%20t%C3%A4glich",
                "x-alga-scheduled-for": "2026-03-29T00:30:00.000Z",
                "x-alga-attempt": "1",
                "x-alga-trigger": "schedule",
                "x-idempotency-key": RUN_ID,
                "content-type": "application/json",
            },
            body_b64="eyJuIjoxfQ==",
        ),
        limits=execution.ExecuteLimits(timeout_ms=30_000),
        providers=["cap:context.read", "cap:log.emit", "cap:scheduler.manage", "cap:user.read"],
        secret_envelope=execution.SecretEnvelope(
            ciphertext_b64="Y2lwaGVy",
            algorithm="aes256-gcm96",
            key_path="tenant-1",
            mount="transit",
            version="1",
            expires_at="2026-04-01T00:00:00.000Z",
        ),
    ),
    "request_without_body": execution.ExecuteRequest(
        context=execution.ExecuteContext(
            request_id=REQUEST_ID, tenant_id=TENANT_ID, extension_id="extension"
        ),
        http=execution.ExecuteHttp(method="GET", path="/api/status"),
        limits=execution.ExecuteLimits(timeout_ms=30_000),
    ),
    "response": execution.ExecuteResponse(
        status=200, headers={"content-type": "application/json"}, body_b64="e30="
    ),
    "response_error": execution.ExecuteResponse(status=502, error="Runner cannot be reached"),
}

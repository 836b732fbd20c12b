"""The scheduler demo: an extension that sets up its own schedules and notices being called."""

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any
from urllib.parse import unquote, urlsplit

from componentize_py_types import Err
from wit_world.imports import logging, scheduler, storage, types

NAMESPACE = "scheduler-demo"
HEARTBEAT_KEY = "heartbeat"
DEFAULT_CRONS = {"status": "0 * * * *", "heartbeat": "*/5 * * * *"}
ENDPOINTS = {"status": "GET /api/status", "heartbeat": "POST /api/heartbeat"}

Answer = tuple[int, Any]
"""Status and what becomes the JSON body."""


class WitWorld:
    """What the host calls."""

    def handler(self, request: types.ExecuteRequest) -> types.ExecuteResponse:
        """Answer one request; a host function's error code becomes the answer."""
        try:
            status, body = route(request.http)
        except Err as error:
            status, body = 502, {"error": error.value.name.lower()}
        except ValueError as error:
            status, body = 400, {"error": f"the body is not understood: {error}"}
        header = types.HttpHeader("content-type", "application/json")
        return types.ExecuteResponse(status, [header], json.dumps(body).encode())


def route(http: types.HttpRequest) -> Answer:
    """Find the function for a method and path."""
    path = urlsplit(http.url).path
    routes: dict[tuple[str, str], Callable[[types.HttpRequest], Answer]] = {
        ("POST", "/api/setup"): setup,
        ("GET", "/api/schedules"): list_schedules,
        ("GET", "/api/status"): status,
        ("POST", "/api/heartbeat"): heartbeat,
    }
    prefix = "/api/schedules/"
    if http.method == "DELETE" and path.startswith(prefix):
        return delete_schedule(path.removeprefix(prefix))
    found = routes.get((http.method, path))
    return found(http) if found else (404, {"error": "no such endpoint"})


def setup(http: types.HttpRequest) -> Answer:
    """Create the schedules that are missing; the body may name crons, {"heartbeat": "…"}."""
    crons = DEFAULT_CRONS | chosen_crons(http)
    callable_now = {f"{e.method} {e.path}" for e in scheduler.get_endpoints() if e.schedulable}
    present = {schedule.name for schedule in scheduler.list_schedules()}
    created, failed = [], {}
    for name, endpoint in ENDPOINTS.items():
        if name in present:
            continue
        if endpoint not in callable_now:
            failed[name] = f"{endpoint} cannot be scheduled"
            continue
        result = create(name, endpoint, crons[name])
        if result.success:
            created.append(name)
        else:
            failed[name] = json.loads(result.field_errors or "null") or result.error
    logging.log_info(f"setup: {len(created)} created, {len(present)} present, {len(failed)} failed")
    body = {"created": created, "present": sorted(filter(None, present)), "failed": failed}
    return (422 if failed else 200), body


def chosen_crons(http: types.HttpRequest) -> dict[str, str]:
    """Read the cron expressions that the caller of the setup wants."""
    chosen = json_body(http, {})
    if not isinstance(chosen, dict) or not all(isinstance(cron, str) for cron in chosen.values()):
        raise ValueError("expected an object of schedule name to cron expression")
    return chosen


def create(name: str, endpoint: str, cron: str) -> types.CreateScheduleResult:
    """Create one schedule, with a payload that says whose call it will be."""
    payload = json.dumps({"schedule": name}) if endpoint.startswith("POST") else None
    return scheduler.create_schedule(
        types.CreateScheduleInput(
            endpoint=endpoint, cron=cron, timezone="UTC", enabled=True, name=name, payload=payload
        )
    )


def list_schedules(_: types.HttpRequest) -> Answer:
    """Show the install's schedules as the host lists them."""
    return 200, {"schedules": [asdict(schedule) for schedule in scheduler.list_schedules()]}


def delete_schedule(schedule_id: str) -> Answer:
    """Delete one schedule by its id."""
    result = scheduler.delete_schedule(schedule_id)
    return (200 if result.success else 404), asdict(result)


def heartbeat(http: types.HttpRequest) -> Answer:
    """Remember the call: how often, the last payload, the occurrence's key, and what it is for."""
    headers = {header.name.lower(): header.value for header in http.headers}
    key = headers.get("x-idempotency-key")
    memory, revision = remembered()
    if key is not None and memory.get("idempotency_key") == key:
        return 200, memory | {"repeated": True}
    memory = {
        "calls": memory.get("calls", 0) + 1,
        "payload": json_body(http, None),
        "idempotency_key": key,
        "schedule": unquote(headers.get("x-alga-schedule-name", "")),
        "scheduled_for": headers.get("x-alga-scheduled-for"),
        "attempt": headers.get("x-alga-attempt"),
        "trigger": headers.get("x-alga-trigger"),
    }
    value = json.dumps(memory).encode()
    # Revision 0 requires that no entry exists: of two concurrent first calls, one gets a conflict.
    storage.put(types.StorageEntry(NAMESPACE, HEARTBEAT_KEY, value, revision))
    logging.log_info(f"heartbeat {memory['calls']}")
    return 200, memory


def status(_: types.HttpRequest) -> Answer:
    """Show what the heartbeat remembers."""
    memory, _revision = remembered()
    return 200, {"heartbeat": memory or None}


def remembered() -> tuple[dict[str, Any], int]:
    """Read the heartbeat's memory and its revision; nothing and 0 before the first call."""
    try:
        entry = storage.get(NAMESPACE, HEARTBEAT_KEY)
    except Err as error:
        if error.value is not types.StorageError.MISSING:
            raise
        return {}, 0
    return json.loads(entry.value), entry.revision or 0


def json_body(http: types.HttpRequest, default: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Read the request's body, if it has one."""
    return json.loads(http.body) if http.body else default

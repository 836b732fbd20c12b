"""The sample extension in the development Runner, with a scheduler in memory behind it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from contracts.errors import Code, ServiceError
from tests.support.running_extensions import (
    ALL,
    DEMO,
    Runner,
    development_runner,
    installed,
    installed_sources,
    json_of,
)
from tests.support.scheduling import MemoryScheduler


@pytest.fixture
def scheduler() -> MemoryScheduler:
    return MemoryScheduler()


class Demo:
    """The installed sample."""

    def __init__(self, runner: Runner, content_hash: str) -> None:
        self._runner = runner
        self._content_hash = content_hash

    async def call(self, method: str, path: str, **given: Any) -> tuple[int, Any]:
        """Call an endpoint; give its status and its JSON body."""
        body = given.pop("json", None)
        if body is not None:
            given["body"] = msgspec.json.encode(body)
        response = await self._runner.execute(self._content_hash, path, method=method, **given)
        return response.status, json_of(response)


@pytest.fixture(params=[installed, installed_sources])
async def demo(
    tmp_path: Path, scheduler: MemoryScheduler, request: pytest.FixtureRequest
) -> AsyncIterator[Demo]:
    """Yield the sample, compiled and from its sources: it must be the same."""
    async with development_runner(tmp_path, scheduler) as runner:
        yield Demo(runner, request.param(DEMO, runner))


async def test_setup_creates_two_schedules_once(demo: Demo, scheduler: MemoryScheduler) -> None:
    assert await demo.call("POST", "/api/setup") == (
        200,
        {"created": ["status", "heartbeat"], "present": [], "failed": {}},
    )
    assert await demo.call("POST", "/api/setup") == (
        200,
        {"created": [], "present": ["heartbeat", "status"], "failed": {}},
    )
    assert [
        (s.endpoint_method, s.endpoint_path, s.name, s.cron, s.payload) for s in scheduler.schedules
    ] == [
        ("GET", "/api/status", "status", "0 * * * *", None),
        ("POST", "/api/heartbeat", "heartbeat", "*/5 * * * *", {"schedule": "heartbeat"}),
    ]


async def test_setup_takes_another_cron(demo: Demo, scheduler: MemoryScheduler) -> None:
    await demo.call("POST", "/api/setup", json={"heartbeat": "* * * * *"})
    assert [s.cron for s in scheduler.schedules] == ["0 * * * *", "* * * * *"]


async def test_setup_returns_field_errors(demo: Demo, scheduler: MemoryScheduler) -> None:
    errors = {"cron": "Cron too frequent (minimum interval is 5 minutes)"}
    scheduler.outcome = {
        "success": False,
        "code": Code.VALIDATION_FAILED,
        "error": errors["cron"],
        "field_errors": errors,
    }
    status, body = await demo.call("POST", "/api/setup")
    assert status == 422
    assert body["failed"] == {"status": errors, "heartbeat": errors}


async def test_an_extension_without_the_capability_is_denied_every_call(
    demo: Demo, scheduler: MemoryScheduler
) -> None:
    providers = [name for name in ALL if name != "cap:scheduler.manage"]
    for method, path in (("POST", "/api/setup"), ("GET", "/api/schedules")):
        assert await demo.call(method, path, providers=providers) == (502, {"error": "denied"})
    status, result = await demo.call("DELETE", "/api/schedules/x", providers=providers)
    assert status == 404
    assert result == {
        "success": False,
        "error": "Capability cap:scheduler.manage is not granted",
    }
    assert scheduler.requests == []


async def test_schedules_are_listed_and_deleted(demo: Demo, scheduler: MemoryScheduler) -> None:
    await demo.call("POST", "/api/setup")
    _, listed = await demo.call("GET", "/api/schedules")
    assert [s["payload"] for s in listed["schedules"]] == [None, '{"schedule":"heartbeat"}']
    path = f"/api/schedules/{listed['schedules'][0]['id']}"
    assert await demo.call("DELETE", path) == (200, {"success": True, "error": None})
    assert await demo.call("DELETE", path) == (
        404,
        {"success": False, "error": "Schedule not found"},
    )
    assert [s.name for s in scheduler.schedules] == ["heartbeat"]


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (Code.UNAUTHORIZED, "denied"),
        (Code.RATE_LIMITED, "quota_exceeded"),
        (Code.UNAVAILABLE, "internal"),
    ],
)
async def test_a_refusal_of_the_service_reaches_the_extension(
    demo: Demo, scheduler: MemoryScheduler, code: Code, error: str
) -> None:
    scheduler.refusal = ServiceError(code, "no")
    assert await demo.call("GET", "/api/schedules") == (502, {"error": error})


async def test_the_heartbeat_stores_its_last_request(demo: Demo) -> None:
    assert await demo.call("GET", "/api/status") == (200, {"heartbeat": None})
    first = {"headers": {"x-idempotency-key": "slot-1"}}
    payload = {"schedule": "heartbeat"}
    await demo.call("POST", "/api/heartbeat", json=payload, http=first)
    status, again = await demo.call("POST", "/api/heartbeat", json=payload, http=first)
    assert (status, again["repeated"]) == (200, True)
    second = {
        "x-idempotency-key": "slot-2",
        "x-alga-schedule-name": "T%C3%A4glich",
        "x-alga-scheduled-for": "2026-01-01T00:15:00Z",
        "x-alga-attempt": "2",
        "x-alga-trigger": "schedule",
    }
    await demo.call("POST", "/api/heartbeat", http={"headers": second})
    assert await demo.call("GET", "/api/status") == (
        200,
        {
            "heartbeat": {
                "calls": 2,
                "payload": None,
                "idempotency_key": "slot-2",
                "schedule": "Täglich",
                "scheduled_for": "2026-01-01T00:15:00Z",
                "attempt": "2",
                "trigger": "schedule",
            }
        },
    )


async def test_an_install_does_not_see_the_storage_of_another(demo: Demo) -> None:
    await demo.call("POST", "/api/heartbeat")
    for other in ({"install": "install-2"}, {"tenant": "tenant-b"}):
        assert await demo.call("GET", "/api/status", **other) == (200, {"heartbeat": None})


async def test_storage_without_its_capability_is_denied(demo: Demo) -> None:
    answer = await demo.call("GET", "/api/status", providers=["cap:context.read"])
    assert answer == (502, {"error": "denied"})


async def test_a_call_that_waits_for_its_host_ends_at_the_time_limit(
    demo: Demo, scheduler: MemoryScheduler, tmp_path: Path
) -> None:
    await demo.call("GET", "/api/status")
    scheduler.blocked = asyncio.Event()
    response = await demo._runner.execute(demo._content_hash, "/api/schedules", timeout_ms=400)
    assert response.status == 504
    assert (response.error or "").startswith("guest_timeout: ")
    scheduler.blocked = None
    assert (await demo.call("GET", "/api/schedules"))[0] == 200


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"heartbeat": 5}'])
async def test_an_unreadable_body_is_a_client_error(demo: Demo, body: bytes) -> None:
    status, _ = await demo.call("POST", "/api/setup", body=body)
    assert status == 400


async def test_an_unknown_path_is_not_found(demo: Demo) -> None:
    assert (await demo.call("GET", "/api/setup"))[0] == 404


def test_the_manifest_declares_every_endpoint_of_the_extension() -> None:
    manifest = msgspec.json.decode((DEMO / "manifest.json").read_bytes())
    assert set(ALL) == set(manifest["capabilities"])
    endpoints = {(e["method"], e["path"]) for e in manifest["api"]["endpoints"]}
    source = (DEMO / "extension.py").read_text()
    assert len(endpoints) == 5
    assert all(f'"{path.removesuffix(":id")}"' in source for _, path in endpoints)

"""What a guest may ask of its host, and how anything else is refused."""

import logging
from typing import Any

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from contracts.errors import Code, ServiceError
from contracts.execution import ExecuteContext
from runner_bridge.dev_runner.frames import HostCall
from runner_bridge.dev_runner.host import (
    MAX_LOG_CHARACTERS,
    MAX_LOG_LINES,
    ExecutionGrant,
    Host,
    HostCallRefused,
    capabilities,
)
from runner_bridge.dev_runner.interface import CAPABILITIES, CONTEXT, LOGGING, SCHEDULER, STORAGE
from runner_bridge.dev_runner.storage import MemoryStorage
from tests.support.scheduling import MemoryScheduler

CONTEXT_OF = ExecuteContext(
    request_id="r", tenant_id="t", extension_id="e", install_id="i", version_id="v"
)
ENTRY = {"namespace": "n", "key": "k", "value": b"v", "revision": None}
PUT = HostCall(STORAGE, "put", [ENTRY])
GET = HostCall(STORAGE, "get", ["n", "k"])


@pytest.fixture
def host() -> Host:
    return Host(lambda *_: MemoryScheduler(), MemoryStorage())


def granted(**changes: Any) -> ExecutionGrant:
    return ExecutionGrant(replace(CONTEXT_OF, **changes), frozenset(CAPABILITIES.values()))


async def test_the_guest_context_is_that_of_its_execution(host: Host) -> None:
    call = HostCall(CONTEXT, "get-context", [])
    expected = {
        "request-id": "r",
        "tenant-id": "t",
        "extension-id": "e",
        "install-id": "i",
        "version-id": "v",
    }
    assert await host.answer(granted(), call) == expected
    without = granted(install_id=UNSET, version_id=UNSET)
    assert await host.answer(without, call) == expected | {"install-id": None, "version-id": None}


@pytest.mark.parametrize(
    ("call", "answer"),
    [
        (HostCall(SCHEDULER, "list-schedules", []), {"err": "denied"}),
        (HostCall(SCHEDULER, "get-schedule", ["x"]), {"err": "denied"}),
        (HostCall(SCHEDULER, "get-endpoints", []), {"err": "denied"}),
        (PUT, {"err": "denied"}),
        (GET, {"err": "denied"}),
        (HostCall(LOGGING, "log-info", ["x"]), None),
    ],
)
async def test_a_read_without_the_capability_is_refused(
    host: Host, call: HostCall, answer: Any
) -> None:
    others = frozenset(CAPABILITIES.values()) - {CAPABILITIES[call.interface]}
    assert await host.answer(ExecutionGrant(CONTEXT_OF, others), call) == answer


@pytest.mark.parametrize("function", ["create-schedule", "update-schedule", "delete-schedule"])
async def test_a_change_without_the_capability_is_a_negative_result(
    host: Host, function: str
) -> None:
    result = await host.answer(
        ExecutionGrant(CONTEXT_OF, frozenset()), HostCall(SCHEDULER, function, [])
    )
    assert result["success"] is False
    assert result["error"] == "Capability cap:scheduler.manage is not granted"


async def test_refusing_the_context_traps_the_guest(host: Host) -> None:
    with pytest.raises(HostCallRefused, match=r"cap:context\.read is not granted"):
        await host.answer(
            ExecutionGrant(CONTEXT_OF, frozenset()), HostCall(CONTEXT, "get-context", [])
        )


async def test_an_interface_that_is_not_offered_is_refused(host: Host) -> None:
    with pytest.raises(HostCallRefused, match="not offered"):
        await host.answer(granted(), HostCall("alga:extension/secrets", "get", ["x"]))


async def test_an_execution_without_an_install_is_denied() -> None:
    def nobody(*_: object) -> MemoryScheduler:
        raise ServiceError(Code.DENIED, "no install")

    host = Host(nobody, MemoryStorage())
    assert await host.answer(granted(), HostCall(SCHEDULER, "list-schedules", [])) == {
        "err": "denied"
    }


async def test_storage_belongs_to_the_install_or_else_to_the_extension(host: Host) -> None:
    assert "ok" in await host.answer(granted(), PUT)
    assert "ok" in await host.answer(granted(extension_id="other"), GET)
    for other in ({"install_id": "other"}, {"tenant_id": "other"}, {"install_id": UNSET}):
        assert await host.answer(granted(**other), GET) == {"err": "missing"}
    assert "ok" in await host.answer(granted(install_id=UNSET), PUT)
    assert await host.answer(granted(install_id=UNSET, extension_id="other"), GET) == {
        "err": "missing"
    }


async def test_log_lines_are_bounded(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    grant = granted()
    for _ in range(MAX_LOG_LINES + 10):
        await host.answer(grant, HostCall(LOGGING, "log-warn", ["x" * 10_000]))
    assert len(caplog.records) == MAX_LOG_LINES
    assert {(r.levelno, len(r.getMessage())) for r in caplog.records} == {
        (logging.WARNING, MAX_LOG_CHARACTERS)
    }


def test_capabilities_are_compared_trimmed_and_in_lower_case() -> None:
    assert capabilities([" CAP:Log.Emit\n", "cap:log.emit"]) == {"cap:log.emit"}


async def test_the_log_has_the_capability_that_a_refused_call_lacks(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    grant = ExecutionGrant(CONTEXT_OF, frozenset())
    for _ in range(MAX_LOG_LINES + 1):
        await host.answer(grant, HostCall(SCHEDULER, "list-schedules", []))
    assert len(caplog.records) == MAX_LOG_LINES
    assert caplog.records[0].__dict__["fields"] == {
        "interface": SCHEDULER,
        "function": "list-schedules",
        "reason": "Capability cap:scheduler.manage is not granted",
    }

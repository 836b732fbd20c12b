"""Components of other worlds than ours: what they import and we lack fails when it is called."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from contracts.execution import ExecuteResponse
from tests.support.running_extensions import (
    BARE,
    EXTRA_IMPORTS,
    Runner,
    development_runner,
    installed,
    json_of,
)
from tests.support.scheduling import MemoryScheduler, schedule_info

# Whoever is first waits until a component of 18 MB is compiled, on however busy a machine.
pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def scheduler() -> MemoryScheduler:
    return MemoryScheduler()


@pytest.fixture
async def runner(tmp_path: Path, scheduler: MemoryScheduler) -> AsyncIterator[Runner]:
    async with development_runner(tmp_path, scheduler) as runner:
        yield runner


async def test_a_component_of_a_smaller_world_runs(runner: Runner) -> None:
    response = await runner.execute(installed(BARE, runner), "/echo")
    assert json_of(response)["context"]["install_id"] == "install-1"


async def test_a_component_of_a_larger_world_runs(runner: Runner) -> None:
    response = await runner.execute(installed(EXTRA_IMPORTS, runner), "/offered")
    assert json_of(response)["tenant_id"] == "tenant-a"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/secret", "alga:extension/secrets.get"),
        ("/fetch", "alga:extension/http.fetch"),
        ("/user", "alga:extension/user.get-user"),
        ("/queue", "alga:extension/queues.[constructor]queue"),
        ("/default-queue", "alga:extension/queues.default-queue"),
        ("/pause", "alga:extension/scheduler.pause-schedule"),
        ("/ping", "ping"),
    ],
)
async def test_a_function_that_is_not_offered_traps_when_called(
    runner: Runner, path: str, name: str
) -> None:
    extra = installed(EXTRA_IMPORTS, runner)
    response = await runner.execute(extra, path)
    assert response == ExecuteResponse(
        status=500, error=f"guest_trap: {name} is not offered by this host"
    )
    assert (await runner.execute(extra, "/offered")).status == 200


async def test_a_record_with_more_fields_gets_those_that_the_host_knows(
    runner: Runner, scheduler: MemoryScheduler
) -> None:
    scheduler.schedules = [schedule_info()]
    [schedule] = json_of(await runner.execute(installed(EXTRA_IMPORTS, runner), "/schedules"))
    assert schedule["cron"] == "*/5 * * * *"
    assert schedule["next_run_at"] == "2026-01-01T00:05:00.000Z"
    assert schedule["colour"] is None


async def test_reading_the_context_without_its_capability_traps_the_guest(runner: Runner) -> None:
    extra = installed(EXTRA_IMPORTS, runner)
    response = await runner.execute(extra, "/offered", providers=["cap:log.emit"])
    assert response.status == 500
    assert response.error == "guest_trap: Capability cap:context.read is not granted"


async def test_a_log_line_without_its_capability_is_dropped(
    runner: Runner, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    extra = installed(EXTRA_IMPORTS, runner)
    assert (await runner.execute(extra, "/offered", providers=["cap:context.read"])).status == 200
    assert "from a larger world" not in caplog.text
    providers = [" CAP:Context.Read ", "cap:log.emit"]
    assert (await runner.execute(extra, "/offered", providers=providers)).status == 200
    assert "from a larger world" in caplog.text


async def test_an_error_of_a_call_that_would_give_an_option_arrives(runner: Runner) -> None:
    response = await runner.execute(installed(EXTRA_IMPORTS, runner), "/schedule", providers=[])
    assert json_of(response) == {"error": "DENIED"}

"""A component that another compiler made from another language, through npm."""

import hashlib
import json
import shutil
import subprocess
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from contracts.execution import ExecuteResponse
from runner_bridge.dev_runner.build import WIT, locked
from runner_bridge.dev_runner.components import install
from tests.support.running_extensions import ROOT, Runner, development_runner, json_of
from tests.support.scheduling import MemoryScheduler, schedule_info

SOURCE = Path(__file__).parent / "javascript_guest"
CACHE = ROOT / ".cache" / "javascript_guest"

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="session")
def component() -> Path:
    """Return the compiled guest, built where its sources or the interface changed."""
    files = [*sorted(SOURCE.glob("*.js*")), *sorted(WIT.glob("*.wit"))]
    key = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:16]
    CACHE.mkdir(parents=True, exist_ok=True)
    target = CACHE / f"{key}.wasm"
    with locked(CACHE / "lock"):
        if not target.is_file():
            build(target)
    return target


def build(target: Path) -> None:
    """Install the compiler beside the cache, not into the tree, and compile."""
    for name in ("package.json", ".npmrc", "build.js", "guest.js"):
        shutil.copy(SOURCE / name, CACHE / name)
    partial = target.with_suffix(".partial")
    for command in (
        ["npm", "install"],
        ["npm", "run", "build", "--", str(WIT), str(partial)],
    ):
        done = subprocess.run(command, cwd=CACHE, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    partial.replace(target)


@pytest.fixture
def scheduler() -> MemoryScheduler:
    return MemoryScheduler()


@pytest.fixture
async def runner(tmp_path: Path, scheduler: MemoryScheduler) -> AsyncIterator[Runner]:
    async with development_runner(tmp_path, scheduler) as runner:
        yield runner


@pytest.fixture
def guest(component: Path, runner: Runner) -> str:
    """Return the content hash under which the guest is installed."""
    return install(component, runner.components)


async def test_the_javascript_guest_gets_its_request_and_context(
    runner: Runner, guest: str
) -> None:
    response = await runner.execute(
        guest, "/echo", method="POST", body="ü".encode(), http={"query": {"a": "b"}}
    )
    assert response.headers == {"content-type": "application/json"}
    assert json_of(response) == {
        "method": "POST",
        "url": "/echo?a=b",
        "headers": [],
        "body": "ü",
    }
    assert json_of(await runner.execute(guest, "/context"))["installId"] == "install-1"


async def test_the_javascript_guest_manages_its_schedules(
    runner: Runner, guest: str, scheduler: MemoryScheduler
) -> None:
    endpoints = json_of(await runner.execute(guest, "/endpoints"))
    assert [endpoint["path"] for endpoint in endpoints if endpoint["schedulable"]] == [
        "/api/heartbeat",
        "/api/status",
    ]
    wanted = {"endpoint": "POST /api/heartbeat", "cron": "0 * * * *", "payload": '{"a": 1}'}
    created = json_of(await runner.execute(guest, "/create", body=json.dumps(wanted).encode()))
    assert created == {"success": True, "scheduleId": scheduler.schedules[0].id}
    found = json_of(await runner.execute(guest, "/schedule", body=created["scheduleId"].encode()))
    assert (found["cron"], found["payload"]) == ("0 * * * *", '{"a":1}')
    assert json_of(await runner.execute(guest, "/schedules")) == [found]
    assert json_of(await runner.execute(guest, "/schedule", body=b"other")) is None
    await runner.execute(guest, "/clear", body=created["scheduleId"].encode())
    assert scheduler.requests[-1].payload is None


@pytest.mark.parametrize("path", ["/endpoints", "/schedules", "/schedule"])
async def test_the_javascript_guest_without_the_capability_is_denied(
    runner: Runner, guest: str, path: str
) -> None:
    response = await runner.execute(guest, path, body=b"x", providers=["cap:log.emit"])
    assert response.status == 502
    assert json_of(response) == {"error": "denied"}


async def test_a_refused_change_of_the_javascript_guest_is_a_result(
    runner: Runner, guest: str
) -> None:
    wanted = b'{"endpoint": "/", "cron": "0 * * * *", "payload": "no json"}'
    result = json_of(await runner.execute(guest, "/create", body=wanted))
    assert result["success"] is False
    assert json.loads(result["fieldErrors"]) == {"payload": "Payload must be JSON-serializable"}


async def test_the_javascript_guest_reads_what_it_stored(runner: Runner, guest: str) -> None:
    answer = json_of(await runner.execute(guest, "/remember", body=b"value"))
    assert answer["stored"] == "value"


async def test_the_javascript_engine_gets_the_wasi_functions_it_imports(
    runner: Runner, guest: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    answer = json_of(await runner.execute(guest, "/wasi"))
    assert answer == {"year": datetime.now(UTC).year, "different": True}


@pytest.mark.parametrize(
    ("path", "status", "given"),
    [
        ("/loop", 504, {"timeout_ms": 500}),
        ("/throw", 500, {}),
        ("/hog", 500, {}),
        ("/fetch", 500, {}),
    ],
)
async def test_a_failing_javascript_guest_does_not_affect_other_executions(
    runner: Runner, guest: str, scheduler: MemoryScheduler, path: str, status: int, given: Any
) -> None:
    scheduler.schedules = [schedule_info()]
    # Compiled ahead, so that the time limit is the guest's alone.
    assert (await runner.execute(guest, "/context")).status == 200
    response: ExecuteResponse = await runner.execute(guest, path, **given)
    assert response.status == status
    assert response.error is not None
    assert (await runner.execute(guest, "/schedules")).status == 200

"""The test kit for extensions: what the fake host does, seen from an author's tests."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from devstack.new import write_extension
from devstack.testing import FakeHost, Limits, types
from tests.support.running_extensions import DEMO, ROOT

EXTENSION = """
import json
from wit_world.imports import context, logging, scheduler, storage, types

calls = 0

class WitWorld:
    def handler(self, request):
        global calls
        calls += 1
        value = ANSWER
        return types.ExecuteResponse(200, [], json.dumps(value, default=str).encode())
"""
MANIFEST = """{"name": "probe", "publisher": "me", "version": "1",
 "capabilities": ["cap:scheduler.manage", "cap:storage.kv"],
 "api": {"endpoints": [{"method": "POST", "path": "/api/run", "handler": "h"}]}}"""
CREATE = """scheduler.create_schedule(types.CreateScheduleInput(
    "/api/run", "30 2 * * *", "Europe/Berlin", None, "nightly", None)).success"""

Probe = Callable[..., FakeHost]


@pytest.fixture
def probe(tmp_path: Path) -> Probe:
    """Makes a host of an extension that answers a call with the value of an expression."""

    def make(answer: str, **options: object) -> FakeHost:
        (tmp_path / "manifest.json").write_text(MANIFEST)
        (tmp_path / "extension.py").write_text(EXTENSION.replace("ANSWER", answer))
        return FakeHost(tmp_path, **options)  # type: ignore[arg-type]  # options of the test's choice

    return make


def test_the_tests_of_the_example_pass_with_nothing_but_the_kit() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "unittest", "discover", DEMO / "tests"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Ran 7 tests" in done.stderr


def test_the_example_of_the_guide_runs(tmp_path: Path) -> None:
    guide = (ROOT / "docs" / "extension-guide.md").read_text()
    [example] = re.findall(r"^```python test-kit\n(.*?)^```$", guide, re.DOTALL | re.MULTILINE)
    write_extension(tmp_path / "reports")
    done = subprocess.run(
        [sys.executable, "-c", example],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_kit_imports_only_what_its_extra_and_the_base_bring() -> None:
    program = "import sys, devstack.testing; print(*{n.partition('.')[0] for n in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    imported = set(done.stdout.split())
    assert {"croniter", "tzdata", "msgspec"} <= imported
    assert not imported & {"aiohttp", "asyncpg", "pgqueuer", "typer", "uvloop", "wasmtime"}


def test_fires_follow_the_wall_clock_through_a_change(probe: Probe) -> None:
    host = probe(CREATE)
    assert host.call("POST", "/api/run").json() is True
    spring = datetime(2026, 3, 28, 12, tzinfo=UTC)
    fires = host.fires_between(spring, spring + timedelta(days=2))
    assert [(fire.name, f"{fire.at:%d %H:%M}") for fire in fires] == [
        ("nightly", "29 01:00"),
        ("nightly", "30 00:30"),
    ]


def test_a_period_contains_its_start_and_not_its_end(probe: Probe) -> None:
    host = probe(CREATE)
    host.call("POST", "/api/run")
    slot = datetime(2026, 1, 2, 1, 30, tzinfo=UTC)
    assert [fire.at for fire in host.fires_between(slot, slot + timedelta(days=1))] == [slot]
    assert host.fires_between(slot - timedelta(days=1, seconds=-1), slot) == []


def test_moving_the_clock_calls_what_is_due_and_records_it(probe: Probe) -> None:
    host = probe(CREATE)
    host.call("POST", "/api/run")
    assert host.advance(timedelta(hours=1)) == []
    runs = host.advance(timedelta(days=2))
    assert [run.fire.at.day for run in runs] == [1, 2]
    assert host.now == datetime(2026, 1, 3, 1, tzinfo=UTC)
    [schedule] = host.schedules
    assert (schedule.last_run_status, schedule.last_run_at) == (
        "success",
        "2026-01-02T01:30:00.000Z",
    )


def test_the_called_endpoint_gets_the_headers_of_an_occurrence(probe: Probe) -> None:
    host = probe(
        f"{CREATE} if request.http.url == '/setup'"
        " else {header.name: header.value for header in request.http.headers}"
    )
    host.call("POST", "/setup")
    run = host.fire("nightly")
    headers = run.response.json()
    assert headers["x-alga-schedule-name"] == "nightly"
    assert (headers["x-alga-trigger"], headers["x-alga-attempt"]) == ("run_now", "1")
    again = host.repeat(run).response.json()
    assert (again["x-alga-attempt"], again["x-idempotency-key"]) == ("2", run.idempotency_key)


def test_the_rate_is_that_of_the_service_and_passes_with_the_clock(probe: Probe) -> None:
    host = probe(
        "scheduler.create_schedule(types.CreateScheduleInput("
        "'/api/run', '0 * * * *', None, None, None, None)).error",
        limits=Limits(changes_per_minute=2),
    )
    answers = [host.call("POST", "/api/run").json() for _ in range(3)]
    refusal = "Too many schedule changes (max 2 a minute; the next from 2026-01-01T00:01:00.000Z)"
    assert answers == [None, None, refusal]
    host.advance(timedelta(minutes=1))
    assert host.call("POST", "/api/run").json() is None


def test_what_is_stored_survives_and_what_a_module_holds_does_not(probe: Probe) -> None:
    host = probe("[calls, storage.put(types.StorageEntry('n', 'k', b'v', None)).revision]")
    assert host.call("POST", "/api/run").json() == [1, 1]
    assert host.call("POST", "/api/run").json() == [1, 2]


def test_a_code_of_the_host_is_an_exception(probe: Probe) -> None:
    host = probe("storage.get('n', 'missing')")
    with pytest.raises(types.Err) as error:
        host.call("POST", "/api/run")
    assert error.value.value is types.StorageError.MISSING


def test_a_capability_that_is_not_granted_is_denied(probe: Probe) -> None:
    host = probe("scheduler.list_schedules()", granted=[])
    with pytest.raises(types.Err) as error:
        host.call("POST", "/api/run")
    assert error.value.value is types.SchedulerError.DENIED


def test_log_lines_are_kept_with_their_level(probe: Probe) -> None:
    host = probe("logging.log_warn(context.get_context().tenant_id)")
    host.call("POST", "/api/run")
    assert host.logged == [("warn", "test-tenant")]


@pytest.mark.parametrize(
    "answer",
    [
        "storage.put({'namespace': 'n'})",
        "storage.put(types.StorageEntry('n', 'k', 'text', None))",
        "logging.log_info(1)",
    ],
)
def test_a_value_that_a_component_could_not_pass_is_refused(probe: Probe, answer: str) -> None:
    with pytest.raises(TypeError):
        probe(answer).call("POST", "/api/run")


def test_a_handler_that_returns_no_response_is_refused(probe: Probe, tmp_path: Path) -> None:
    host = probe("None")
    source = tmp_path / "extension.py"
    source.write_text("class WitWorld:\n    def handler(self, request):\n        return 200\n")
    with pytest.raises(TypeError, match="returned int"):
        host.call("POST", "/api/run")


def test_importing_an_extension_leaves_no_module_behind(tmp_path: Path) -> None:
    write_extension(tmp_path / "hello")
    before = (dict(sys.modules), list(sys.path))
    FakeHost(tmp_path / "hello").call("POST", "/api/setup")
    assert not {"extension", "wit_world", "componentize_py_types"} & sys.modules.keys()
    assert sys.path == before[1]


def test_a_time_without_a_zone_is_refused(probe: Probe) -> None:
    with pytest.raises(ValueError, match="time zone"):
        probe("None", now=datetime(2026, 1, 1))  # noqa: DTZ001 - that is the mistake


def test_a_request_beyond_what_travels_is_refused_as_the_runners_client_does(probe: Probe) -> None:
    # Few enough characters for a payload, and 270 KB.
    host = probe(
        "scheduler.create_schedule(types.CreateScheduleInput('/api/run', '0 * * * *',"
        " None, None, None, json.dumps(['☃' * 90_000], ensure_ascii=False))).error"
    )
    assert host.call("POST", "/api/run").json() == "Request is too large"

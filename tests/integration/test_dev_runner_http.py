"""The HTTP edge of the development Runner: what it takes, what it refuses, how it stops."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from runner_bridge.dev_runner.components import content_hash, install
from runner_bridge.dev_runner.server import RunnerSettings, serve
from tests.support.eventually import eventually
from tests.support.running_extensions import (
    BARE,
    COMPILED,
    Runner,
    development_runner,
    document,
    guest_processes,
    installed,
    json_of,
)
from tests.support.scheduling import MemoryScheduler
from tests.support.tiny_components import LOOP, component, install_bytes, response_of

# Whoever is first waits until a component of 18 MB is compiled, on however busy a machine.
pytestmark = pytest.mark.timeout(300)

UNKNOWN = "sha256:" + "0" * 64


@pytest.fixture
async def runner(tmp_path: Path) -> AsyncIterator[Runner]:
    async with development_runner(tmp_path, concurrency=1, max_waiting=1) as runner:
        yield runner


def without(*path: str) -> dict[str, Any]:
    """Give a document that lacks one member."""
    whole = document(UNKNOWN)
    place = whole
    for name in path[:-1]:
        place = place[name]
    del place[path[-1]]
    return whole


async def test_the_guest_gets_the_decoded_request(runner: Runner) -> None:
    response = await runner.execute(
        installed(BARE, runner),
        "/echo",
        method="POST",
        body=b'{"a": 1}',
        http={
            "query": {"q": "a b&c", "n": "1"},
            "headers": {
                "x-alga-tenant": "t",
                "X-Request-Id": "own",
                "x-idempotency-key": "occurrence-1",
            },
        },
        headers={"x-idempotency-key": "occurrence-1:1", "x-request-id": "outer", "cookie": "no"},
    )
    assert response.headers == {"x-from": "bare, bare"}
    assert json_of(response) == {
        "context": {
            "request_id": "request-1",
            "tenant_id": "tenant-a",
            "extension_id": "extension-1",
            "install_id": "install-1",
            "version_id": "version-1",
        },
        "http": {
            "method": "POST",
            "url": "/echo?q=a+b%26c&n=1",
            "headers": [
                {"name": "x-alga-tenant", "value": "t"},
                {"name": "X-Request-Id", "value": "own"},
                {"name": "x-idempotency-key", "value": "occurrence-1"},
            ],
            "body": "eyJhIjogMX0=",
        },
    }


async def test_a_null_member_of_an_execution_is_the_same_as_absent(runner: Runner) -> None:
    response = await runner.execute(
        installed(BARE, runner), "/echo", install=None, http={"body_b64": None}
    )
    seen = json_of(response)
    assert (seen["context"]["install_id"], seen["http"]["body"]) == (None, None)
    status, answer = await runner.post(document(None))
    assert status == 400
    assert answer["error"] == "malformed_request: content_hash is required"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b"[" * 100_000,
        without("context"),
        without("context", "tenant_id"),
        without("context", "content_hash"),
        without("http", "method"),
        without("limits"),
        document(UNKNOWN, timeout_ms=0),
        document(UNKNOWN, timeout_ms=-5),
        document(UNKNOWN, timeout_ms="soon"),
        document(UNKNOWN, http={"body_b64": "%%%"}),
        document(UNKNOWN, http={"query": {"a": 1}}),
        document(UNKNOWN, providers="cap:log.emit"),
    ],
    ids=str,
)
async def test_a_malformed_request_is_refused(runner: Runner, body: Any) -> None:
    status, answer = await runner.post(body)
    assert status == answer["status"] == 400
    assert answer["error"].startswith("malformed_request: ")


async def test_an_unknown_capability_is_refused(runner: Runner) -> None:
    status, answer = await runner.post(document(UNKNOWN, providers=["cap:log.emit", "cap:magic"]))
    assert status == answer["status"] == 400
    assert answer["error"] == "unknown_capability: cap:magic"


async def test_an_answer_is_remembered_by_its_key_also_that_of_a_failed_guest(
    runner: Runner,
) -> None:
    well = install_bytes(component(), runner.components)
    failing = install_bytes(component(response_of(0, status=500)), runner.components)
    assert (await runner.execute(failing, headers={"x-idempotency-key": "a:1"})).status == 500
    assert (await runner.execute(well, headers={"x-idempotency-key": "a:1"})).status == 500
    assert (await runner.execute(well, headers={"x-idempotency-key": "a:2"})).status == 204
    assert (await runner.execute(well)).status == 204


async def test_a_failure_before_the_guest_is_not_remembered(runner: Runner) -> None:
    key = {"x-idempotency-key": "b:1"}
    assert (await runner.post(document(UNKNOWN), key))[0] == 404
    well = install_bytes(component(), runner.components)
    assert (await runner.execute(well, headers=key)).status == 204


@pytest.mark.parametrize("name", [UNKNOWN, "sha256:../../etc", "md5:00", "", "sha256:" + "A" * 64])
async def test_an_unknown_component_is_not_found(runner: Runner, name: str) -> None:
    status, answer = await runner.post(document(name))
    assert status == answer["status"] == 404
    assert answer["error"] == f"component_not_found: {name}"


async def test_a_component_whose_content_differs_from_its_name_is_not_run(runner: Runner) -> None:
    name = install_bytes(component(), runner.components)
    [path] = runner.components.glob("*.wasm")
    path.write_bytes(component(LOOP))
    status, answer = await runner.post(document(name))
    assert status == 500
    assert answer["error"] == "component_unusable: the file's content does not have this hash"


async def test_an_oversize_execution_is_refused(runner: Runner) -> None:
    status, answer = await runner.post(b" " * 1_100_000)
    assert status == answer["status"] == 413


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1/execute", 405), ("POST", "/v2/execute", 404), ("GET", "/healthz", 200)],
)
async def test_the_runner_answers_other_paths_and_methods_by_status(
    runner: Runner, method: str, path: str, status: int
) -> None:
    async with runner.session.request(method, runner.url + path) as response:
        assert response.status == status
        assert await response.json()


async def test_calls_beyond_the_queue_limit_are_refused_at_once(runner: Runner) -> None:
    looping = install_bytes(component(LOOP), runner.components)
    well = install_bytes(component(), runner.components)
    assert (await runner.execute(well)).status == 204
    assert (await runner.execute(looping, timeout_ms=100)).status == 504  # compiled by now
    calls = [runner.post(document(looping, timeout_ms=4_000)) for _ in range(6)]
    answers = await asyncio.gather(*calls)
    # One runs; one waits, and may get its turn just before its time is up.
    at_once = [a for _, a in answers if a["error"] == "runner_busy: too many calls wait already"]
    assert len(at_once) == 4
    assert {answer["status"] for answer in at_once} == {503}
    assert 200 in {status for status, _ in answers}
    assert (await runner.execute(well)).status == 204


async def test_components_are_named_by_their_content(tmp_path: Path) -> None:
    source = tmp_path / "x.wasm"
    source.write_bytes(component())
    name = install(source, tmp_path / "components")
    assert name == content_hash(source) == install(source, tmp_path / "components")
    assert [p.stem for p in (tmp_path / "components").iterdir()] == [name.removeprefix("sha256:")]


async def test_an_unusable_component_does_not_keep_the_runner_from_starting(tmp_path: Path) -> None:
    components = tmp_path / "components"
    components.mkdir()
    install_bytes(b"nonsense", components)
    (components / "readme.wasm").write_bytes(b"a name that is no hash")
    async with development_runner(tmp_path) as runner:
        well = install_bytes(component(), runner.components)
        assert (await runner.execute(well)).status == 204


async def test_a_stop_lets_the_execution_in_flight_end(tmp_path: Path) -> None:
    components = tmp_path / "components"
    components.mkdir()
    looping = install_bytes(component(LOOP), components)
    stop, urls = asyncio.Event(), asyncio.Queue[str]()
    settings = RunnerSettings(components=components, cache=COMPILED)
    serving = asyncio.create_task(
        serve(settings, lambda *_: MemoryScheduler(), stop=stop, ready=urls.put_nowait)
    )
    url = await urls.get()
    async with aiohttp.ClientSession() as session:
        runner = Runner(url, components, session)
        call = asyncio.create_task(runner.execute(looping, timeout_ms=3_000))
        await eventually(guest_processes)
        async with session.get(f"{url}/healthz") as response:
            assert response.status == 200
        stop.set()
        assert (await call).status == 504
    await serving

"""An unmodified Runner switched over by configuration alone: the bridge as its own process."""

import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import asyncpg
import msgspec
import pytest
from msgspec import Struct

from contracts.context import key_set_document
from contracts.execution import ExecuteRequest
from devstack.embedded import Nats, embedded_nats
from devstack.embedded.servers import free_port
from service.worker.runner_client import RunnerCall, RunnerClient
from tests.support.keys import RUNNER_JWK, WORKER_KEY, write_key_set
from tests.support.platform import Installed, install
from tests.support.responders import PATIENT, Process, ready, responders
from tests.support.runner_double import RESULT, RunnerDouble, http_runner
from tests.support.shipped_nats import CONFIG, ENVIRONMENT, PASSWORDS, connected
from tests.wire.samples_host import EXECUTE_SAMPLES

TOKEN = "shared-by-runner-and-bridge"


class Bridged(Struct, frozen=True):
    """A bridge between the bus and a Runner, and where the Runner's callbacks go."""

    process: Process
    callbacks: str
    runner: RunnerDouble
    platform: RunnerDouble

    async def call(self, installed: Installed, token: str = TOKEN, **body: Any) -> tuple[int, Any]:
        """Make a callback as a Runner does; status and body of the answer."""
        path = f"/api/internal/ext-scheduler/install/{installed.install_id}"
        headers = {"x-runner-auth": token}
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.callbacks}{path}", json=body, headers=headers) as response,
        ):
            return response.status, await response.json()


@pytest.fixture
def server(servers_directory: Path) -> Iterator[Nats]:
    directory = servers_directory / f"nats-{uuid4().hex}"
    with embedded_nats(directory, config=CONFIG, environment=ENVIRONMENT) as server:
        yield server


@pytest.fixture
async def bridged(server: Nats, database: str, tmp_path: Path) -> AsyncIterator[Bridged]:
    service = {
        "nats_user": "service",
        "nats_password": PASSWORDS["service"],
        "nats_inbox_prefix": "_INBOX_service",
    }
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(
            responders(1, tmp_path, database, server.url, **PATIENT, **service)
        )
        runner = await stack.enter_async_context(http_runner())
        platform = await stack.enter_async_context(http_runner())
        port = free_port()
        process = bridge(settings(server, tmp_path, runner.url, platform.url, port), tmp_path)
        stack.callback(process.kill)
        await ready(process)
        yield Bridged(process, f"http://127.0.0.1:{port}", runner, platform)


def settings(
    server: Nats, home: Path, runner_url: str, platform_url: str, port: int
) -> dict[str, str]:
    """Return what the guide for Runners tells to set, and nothing else."""
    (home / "token").write_text(f"{TOKEN}\n")
    (home / "bridge.json").write_bytes(key_set_document([RUNNER_JWK]))
    return {
        "NATS_URL": server.url,
        "NATS_USER": "runner",
        "NATS_PASSWORD": PASSWORDS["runner"],
        "NATS_INBOX_PREFIX": "_INBOX_runner",
        "RUNNER_URL": runner_url,
        "KEY_SET_FILE": str(write_key_set(home / "keys.json")),
        "CALLBACK_TOKEN_FILE": str(home / "token"),
        "HOST_KEY_FILE": str(home / "bridge.json"),
        "CALLBACK_PORT": str(port),
        "PLATFORM_URL": platform_url,
        "HTTP_PORT": str(free_port()),
    }


def bridge(chosen: dict[str, str], home: Path) -> Process:
    log = home / "bridge.log"
    with log.open("wb") as output:
        popen = subprocess.Popen(
            [sys.executable, "-m", "service", "bridge"],
            env={**os.environ, **{f"EXT_SCHEDULER_{name}": text for name, text in chosen.items()}},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    return Process(popen, f"http://127.0.0.1:{chosen['HTTP_PORT']}", log)


@pytest.fixture
async def installed(database: str) -> Installed:
    connection = await asyncpg.connect(database)
    try:
        return await install(connection)
    finally:
        await connection.close()


async def test_callbacks_reach_the_service_and_field_errors_the_extension(
    bridged: Bridged, installed: Installed
) -> None:
    wanted = {"endpoint": "POST /api/heartbeat", "cron": "0 * * * *", "payload": '{"n": 1}'}
    status, created = await bridged.call(installed, operation="create", **wanted)
    assert (status, created["success"]) == (200, True)
    status, listed = await bridged.call(installed, operation="list")
    [schedule] = listed["schedules"]
    assert (status, schedule["payload"]) == (200, {"n": 1})
    assert "lastRunAt" not in schedule
    status, refused = await bridged.call(installed, operation="create", endpoint="/x", cron="*")
    assert (status, refused["success"]) == (200, False)
    assert list(refused["fieldErrors"]) == ["endpoint", "cron"]
    status, denied = await bridged.call(installed, token="another", operation="list")
    assert (status, denied["code"]) == (401, "UNAUTHORIZED")


async def test_every_other_path_reaches_the_platform(bridged: Bridged) -> None:
    path = "/api/internal/ext-storage/install/1?key=a"
    async with (
        aiohttp.ClientSession() as session,
        session.put(f"{bridged.callbacks}{path}", data=b"value") as response,
    ):
        assert await response.read() == RESULT
    [put] = bridged.platform.calls
    assert (put.http_request.method, put.http_request.raw_path, put.body) == ("PUT", path, b"value")


async def test_execute_requests_reach_the_runner_as_they_were_signed(
    bridged: Bridged, server: Nats
) -> None:
    request, occurrence = EXECUTE_SAMPLES["request"], uuid4()
    assert isinstance(request, ExecuteRequest)
    async with connected(server, "service") as (client, _):
        outcome = await RunnerClient(client, lambda: WORKER_KEY).call(
            RunnerCall(request, occurrence, at=time.time(), timeout_s=60.0)
        )
    assert (outcome.http_status, outcome.error) == (200, None)
    [call] = bridged.runner.calls
    assert (call.http_request.path, call.body) == ("/v1/execute", msgspec.json.encode(request))
    assert call.headers["x-idempotency-key"] == f"{occurrence}:1"
    assert call.headers["x-request-id"] == request.context.request_id
    assert call.headers["x-alga-tenant"] == request.context.tenant_id
    assert await bridged.process.stop() == 0

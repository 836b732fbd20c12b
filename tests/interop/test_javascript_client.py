"""A client in JavaScript, written from the documentation alone, against a real responder."""

import asyncio
import json
import os
import shutil
import subprocess
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import msgspec
import pytest

from contracts.context import (
    generate_key,
    key_set_document,
    parse_key_set,
    public_jwk,
    signing_key,
)
from contracts.execution import ExecuteRequest
from contracts.subjects import HOST_AUDIENCE, RUNNER_AUDIENCE
from devstack.conformance.cases import run_cases
from devstack.conformance.execute import execute_cases
from devstack.conformance.runner_peer import RunnerPeer
from devstack.conformance.samples import execute_document, foreign_key
from devstack.embedded import Nats, embedded_nats
from service.worker.runner_client import RunnerCall, RunnerClient
from tests.support.platform import Installed, install
from tests.support.responders import responders
from tests.support.shipped_nats import CONFIG, ENVIRONMENT, PASSWORDS, connected
from tests.wire.samples_host import EXECUTE_SAMPLES

SOURCE = Path(__file__).parent / "javascript_client"
CACHE = Path(__file__).parents[2] / ".cache" / "javascript_client"
KEYS = {
    alg: generate_key(alg, kid=alg, issuer="runner", audiences=[HOST_AUDIENCE])
    for alg in ("EdDSA", "Ed25519", "HS256")
}

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def program() -> Path:
    """Return the program, its packages installed beside the cache, not into the tree."""
    CACHE.mkdir(parents=True, exist_ok=True)
    for file in SOURCE.iterdir():
        if file.is_file():
            shutil.copy(file, CACHE)
    done = subprocess.run(
        ["npm", "install"], cwd=CACHE, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return CACHE


@pytest.fixture(scope="module")
def server(servers_directory: Path) -> Iterator[Nats]:
    with embedded_nats(
        servers_directory / "nats-javascript", config=CONFIG, environment=ENVIRONMENT
    ) as server:
        yield server


@pytest.fixture
async def responder(server: Nats, database: str, tmp_path: Path) -> AsyncIterator[None]:
    keys = tmp_path / "all.json"
    keys.write_bytes(key_set_document(list(KEYS.values())))
    connection = {
        "nats_user": "service",
        "nats_password": PASSWORDS["service"],
        "nats_inbox_prefix": "_INBOX_service",
        "key_set_file": str(keys),
    }
    async with responders(1, tmp_path, database, server.url, **connection):
        yield


async def walk(program: Path, server: Nats, key_file: Path, **more: str) -> dict[str, Any]:
    process = await node(program / "walk.js", server, key_file, **more)
    out, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    answers: dict[str, Any] = json.loads(out)
    return answers


async def node(script: Path, server: Nats, key_file: Path, **more: str) -> Process:
    """Return a program that runs as the user `runner`."""
    environment = {
        **os.environ,
        "NATS_URL": server.url,
        "NATS_USER": "runner",
        "NATS_PASSWORD": PASSWORDS["runner"],
        "KEY_FILE": str(key_file),
        **more,
    }
    return await asyncio.create_subprocess_exec(
        "node", str(script), env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


@pytest.fixture
async def installed(database: str) -> Installed:
    connection = await asyncpg.connect(database)
    try:
        return await install(connection)
    finally:
        await connection.close()


@pytest.mark.parametrize("content_type", ["application/json", "application/msgpack"])
@pytest.mark.parametrize("alg", sorted(KEYS))
async def test_the_javascript_client_creates_and_lists_a_schedule(
    program: Path,
    server: Nats,
    responder: None,
    installed: Installed,
    tmp_path: Path,
    alg: str,
    content_type: str,
) -> None:
    key_file = tmp_path / "key.json"
    key_file.write_bytes(key_set_document([KEYS[alg]]))
    answers = await walk(
        program,
        server,
        key_file,
        INSTALL_ID=str(installed.install_id),
        CONTENT_TYPE=content_type,
    )
    assert answers["endpoints"]["endpoints"][0]["path"] == "/api/both"
    created = answers["created"]
    assert created["success"]
    assert answers["repeated"] == created
    [schedule] = answers["listed"]["schedules"]
    assert schedule["id"] == created["scheduleId"]
    assert schedule["payload"] == {"float": 1.5, "text": "ü", "list": [1, None, True]}
    assert (schedule["endpointMethod"], schedule["lastRunAt"]) == ("POST", None)
    assert answers["taken"]["code"] == "CONFLICT"
    assert list(answers["wrong"]["fieldErrors"]) == ["endpoint", "cron"]
    assert (answers["reused"]["code"], answers["reused"]["number"]) == ("CONFLICT", 409)
    assert (answers["forged"]["code"], answers["forged"]["number"]) == ("UNAUTHORIZED", 401)
    assert answers["deleted"] == {"success": True}
    assert answers["got"] == {"schedule": None}


@pytest.mark.parametrize("alg", sorted(KEYS))
async def test_the_javascript_runner_answers_a_verified_execute_request(
    program: Path, server: Nats, tmp_path: Path, alg: str
) -> None:
    jwk, foreign = (
        generate_key(alg, kid="worker", issuer="worker", audiences=[RUNNER_AUDIENCE])
        for _ in range(2)
    )
    key_file = tmp_path / "keys.json"
    key_file.write_bytes(key_set_document([jwk if alg == "HS256" else public_jwk(jwk)]))
    request, occurrence = EXECUTE_SAMPLES["request"], uuid4()
    assert isinstance(request, ExecuteRequest)
    process = await node(program / "runner.js", server, key_file)
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        async with connected(server, "service") as (client, _):
            outcomes = []
            for key in (jwk, foreign):
                keys = parse_key_set(key_set_document([key]))
                runner = RunnerClient(client, partial(signing_key, keys, RUNNER_AUDIENCE))
                outcomes.append(
                    await runner.call(
                        RunnerCall(request, occurrence, at=time.time(), timeout_s=60.0)
                    )
                )
        called = json.loads(await process.stdout.readline())
    finally:
        process.kill()
        await process.wait()
    accepted, refused = outcomes
    assert (accepted.http_status, accepted.error) == (200, None)
    assert (refused.http_status, refused.final) == (401, True)
    assert called["occurrence"] == str(occurrence)
    assert called["fresh"]
    assert called["path"] == request.http.path


async def test_the_javascript_runner_passes_the_conformance_kit(
    program: Path, server: Nats, tmp_path: Path
) -> None:
    jwk = generate_key("EdDSA", kid="worker", issuer="worker", audiences=[RUNNER_AUDIENCE])
    key_file = tmp_path / "keys.json"
    key_file.write_bytes(key_set_document([public_jwk(jwk)]))
    key = signing_key(parse_key_set(key_set_document([jwk])), RUNNER_AUDIENCE)
    process = await node(program / "runner.js", server, key_file)
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        async with connected(server, "service") as (client, _):
            peer = RunnerPeer(
                client=client,
                subject="ext.runner.execute",
                key=key,
                foreign=foreign_key(key),
                document=msgspec.to_builtins(execute_document()),
            )
            cases = execute_cases(peer)
            results = [result async for result in run_cases("runner", cases, peer)]
    finally:
        process.kill()
        await process.wait()
    assert [result for result in results if not result.passed] == []
    assert len(results) == len(cases)

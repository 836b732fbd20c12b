"""The TypeScript client: generated from the contract, packed by npm, held against the service."""

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
from nats.aio.msg import Msg

from contracts import base64url
from contracts.context import generate_key, key_set_document
from contracts.subjects import CONTEXT_HEADER, HOST_AUDIENCE
from devstack.conformance import vectors
from devstack.embedded import Nats, embedded_nats
from runner_bridge.requests import RequestSettings
from tests.support.npm_packages import NPM, run
from tests.support.npm_packages import installed as installed_package
from tests.support.platform import Installed, install
from tests.support.responders import responders
from tests.support.shipped_nats import CONFIG, ENVIRONMENT, PASSWORDS, connected

PACKAGE = NPM / "client"
SOURCE = Path(__file__).parent / "typescript_client"
KEYS = {
    alg: generate_key(alg, kid=alg, issuer="runner", audiences=[HOST_AUDIENCE])
    for alg in ("EdDSA", "HS256")
}

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def program() -> Path:
    """Return the programs that were compiled with the packed package."""
    user = installed_package("client", SOURCE)
    run("npx", "tsc", directory=user)
    return user / "dist"


@pytest.fixture(scope="module")
def server(servers_directory: Path) -> Iterator[Nats]:
    with embedded_nats(
        servers_directory / "nats-typescript", config=CONFIG, environment=ENVIRONMENT
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


@pytest.fixture
async def installed(database: str) -> Installed:
    connection = await asyncpg.connect(database)
    try:
        return await install(connection)
    finally:
        await connection.close()


async def walk(program: Path, server: Nats, key_file: Path, **more: str) -> dict[str, Any]:
    environment = {
        **os.environ,
        "NATS_URL": server.url,
        "NATS_USER": "runner",
        "NATS_PASSWORD": PASSWORDS["runner"],
        "KEY_FILE": str(key_file),
        **more,
    }
    process = await asyncio.create_subprocess_exec(
        *("node", str(program / "walk.js")),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    answers: dict[str, Any] = json.loads(out)
    return answers


def test_timeouts_are_those_of_the_python_client() -> None:
    ours, source = RequestSettings(), (PACKAGE / "src" / "requests.ts").read_text()
    for name, seconds in (
        ("attemptTimeoutMs", ours.attempt_timeout_s),
        ("totalTimeoutMs", ours.total_timeout_s),
        ("firstDelayMs", ours.first_delay_s),
        ("maxDelayMs", ours.max_delay_s),
    ):
        milliseconds = int(seconds * 1000)
        assert f"{name}: {milliseconds:_}," in source, name


def test_tokens_are_those_of_the_vectors(program: Path, tmp_path: Path) -> None:
    tokens = json.loads((vectors.DIRECTORY / "tokens.json").read_text())
    expected = {
        kid: vector["token"]
        for vector in tokens
        for kid, _, name in [vector["name"].partition(": ")]
        if name == "valid"
    }
    claims = {
        kid: msgspec.json.decode(base64url.decode(token.split(".")[1].encode()))
        for kid, token in expected.items()
    }
    (tmp_path / "claims.json").write_bytes(msgspec.json.encode(claims))
    key_file = str(vectors.DIRECTORY / "keys.json")
    signed = run("node", "sign.js", key_file, str(tmp_path / "claims.json"), directory=program)
    assert json.loads(signed) == expected
    assert len(expected) == 4


@pytest.mark.parametrize("alg", sorted(KEYS))
async def test_every_operation_of_the_service_is_called(
    program: Path, server: Nats, responder: None, installed: Installed, tmp_path: Path, alg: str
) -> None:
    key_file = tmp_path / "key.json"
    key_file.write_bytes(key_set_document([KEYS[alg]]))
    answers = await walk(program, server, key_file, INSTALL_ID=str(installed.install_id))
    created = answers["created"]
    assert created["success"]
    assert answers["repeated"] == created
    assert (answers["reused"]["code"], answers["reused"]["number"]) == ("CONFLICT", 409)
    assert answers["taken"]["code"] == "CONFLICT"
    assert sorted(answers["wrong"]["fieldErrors"]) == ["cron", "endpoint"]
    [schedule] = answers["listed"]["schedules"]
    assert (schedule["id"], schedule["name"]) == (created["scheduleId"], "nightly")
    assert schedule["payload"] == {"text": "ü", "list": [1, None, 1.5]}
    assert answers["updated"] == {"success": True}
    assert answers["got"] is None
    assert answers["malformed"] == {
        "code": "VALIDATION_FAILED",
        "number": 400,
        "fields": {"scheduleId": "Invalid scheduleId"},
    }
    assert "/api/heartbeat" in answers["paths"]
    assert (answers["tenant"]["code"], answers["tenant"]["number"]) == ("DENIED", 403)
    assert answers["large"]["code"] == "VALIDATION_FAILED"
    assert answers["deleted"] == {"success": True}
    assert answers["missing"] == {"schedule": None}


async def test_what_is_unavailable_is_asked_again_under_the_same_jti(
    program: Path, server: Nats, tmp_path: Path
) -> None:
    key_file = tmp_path / "key.json"
    key_file.write_bytes(key_set_document([KEYS["EdDSA"]]))
    received: list[tuple[str, bytes]] = []
    busy = (b'{"success":false,"code":"UNAVAILABLE","error":"busy"}', "503")
    done = (b'{"success":true,"scheduleId":"one"}', None)
    async with connected(server, "service") as (client, _):

        async def answer(message: Msg) -> None:
            received.append(((message.headers or {})[CONTEXT_HEADER], message.data))
            body, number = done if len(received) == 3 else busy
            headers = {"Content-Type": "application/json"}
            if number is not None:
                headers["Nats-Service-Error-Code"] = number
            await client.publish(message.reply, body, headers=headers)

        await client.subscribe("ext.scheduler.create", queue="ext-scheduler", cb=answer)
        await client.flush()
        install_id = "0b6a1f52-8d3e-4a7c-b1f4-2c9e5d7a8b13"
        answers = await walk(program, server, key_file, INSTALL_ID=install_id, ONLY="create")
    assert answers["created"] == {"success": True, "scheduleId": "one"}
    claims = [json.loads(base64url.decode(token.split(".")[1].encode())) for token, _ in received]
    assert {claim["jti"] for claim in claims} == {"5f0c2a6e-3b1d-4c57-9a43-6f1d2e8b7c90"}
    assert len({body for _, body in received}) == 1
    assert len(received) == 3

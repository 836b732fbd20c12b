"""Tokens made by hand are what the service accepts, with the headers of the documentation."""

import time
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import msgspec
import pytest

from tests.support.callers import connected
from tests.support.command_line import CommandLine, command_line, error_line
from tests.support.platform import install
from tests.support.responders import responders

INSTALL = "00000000-0000-4000-8000-000000000001"


@pytest.fixture
def line(tmp_path: Path, nats_url: str) -> CommandLine:
    return command_line(tmp_path, nats_url)


@pytest.fixture
async def service(tmp_path: Path, database: str, nats_url: str) -> AsyncIterator[None]:
    async with responders(1, tmp_path, database, nats_url):
        yield


async def requested(nats_url: str, subject: str, body: str, token: str) -> dict[str, object]:
    """Ask as `nats req` would with these two headers."""
    headers = {"Content-Type": "application/json", "Ext-Context": token}
    async with connected(nats_url) as client:
        reply = await client.request(subject, body.encode(), timeout=60, headers=headers)
    answer: dict[str, object] = msgspec.json.decode(reply.data)
    return answer


async def test_a_minted_token_opens_host_and_admin_operations(
    line: CommandLine, service: None, pool: asyncpg.Pool, nats_url: str
) -> None:
    install_id = str((await install(pool)).install_id)
    words = ("token", "mint", "list", "--key", "runner.json", "--install", install_id)
    token = (await line.ok(*words)).out
    assert await requested(nats_url, "ext.scheduler.list", "{}", token.strip()) == {"schedules": []}
    body = f'{{"installId": "{install_id}", "limit":3}}'
    words = ("token", "mint", "listSchedules", "--audience", "admin", "--body", body)
    token = (await line.ok(*words)).out
    subject = "ext.scheduler.admin.listSchedules"
    assert await requested(nats_url, subject, body, token.strip()) == {"schedules": []}
    other = await requested(nats_url, subject, "{}", token.strip())
    assert other["code"] == "UNAUTHORIZED"


async def test_a_token_is_printed_and_verified(line: CommandLine) -> None:
    words = ("--key", "runner.json", "--install", INSTALL, "--lifetime", "120")
    token = (await line.ok("token", "mint", "list", *words)).out.strip()
    shown = (await line.ok("token", "inspect", token)).out
    assert '"kid": "runner-1"' in shown
    assert f'"install_id": "{INSTALL}"' in shown
    assert "token expires in" in shown
    verify = ("token", "inspect", "-", "--key-set", "keys.json")
    assert "signature, key, issuer" in (await line(*verify, given=token)).out
    assert "token is valid" in (await line(*verify, "--body", "{}", given=token)).out
    refused = await line(*verify, "--body", "[]", given=token)
    assert error_line(refused, 4) == "token is invalid: body"
    forged = token[:-8] + "AAAAAAAA"
    assert error_line(await line(*verify, given=forged), 4).startswith("token is invalid")


async def test_a_body_may_come_from_a_file(line: CommandLine) -> None:
    (line.home / "body.json").write_bytes(b'{"scheduleId": "x"}\n')
    words = ("--key", "runner.json", "--install", INSTALL, "--body", "@body.json")
    token = (await line.ok("token", "mint", "get", *words)).out.strip()
    verify = ("token", "inspect", token, "--key-set", "keys.json", "--body", "@body.json")
    assert "token is valid" in (await line.ok(*verify)).out


@pytest.mark.parametrize(
    ("words", "status", "expected"),
    [
        (["mint", "lst", "--key", "runner.json", "--install", INSTALL], 2, "did you mean list?"),
        (["mint", "runNow", "--key", "runner.json"], 2, "use --audience admin"),
        (["mint", "list", "--key", "runner.json"], 2, "missing --install"),
        (["mint", "list", "--install", INSTALL], 2, "EXT_SCHEDULER_HOST_KEY_FILE"),
        (["mint", "list", "--install", INSTALL, "--key", "keys.json"], 2, "no key can sign"),
        (["mint", "list", "--install", INSTALL, "--key", "worker.json"], 2, "no key can sign"),
        (["mint", "list", "--install", "7"], 2, "--install"),
        (["mint", "list", "--lifetime", "121"], 2, "--lifetime"),
        (
            ["mint", "auditLog", "--audience", "admin", "--key", "platform.json"],
            2,
            "missing --tenant",
        ),
        (["inspect", "a.b"], 2, "not a token"),
        (["inspect", "a.b.c"], 2, "not a token"),
        (["inspect", "é.ü.c"], 2, "not a token"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
async def test_a_token_error_is_one_line(
    line: CommandLine, words: list[str], status: int, expected: str
) -> None:
    assert expected in error_line(await line("token", *words), status)


async def test_inspect_prints_the_times_of_the_token(line: CommandLine) -> None:
    before = int(time.time())
    words = ("--key", "runner.json", "--install", INSTALL)
    token = (await line.ok("token", "mint", "list", *words)).out.strip()
    shown = (await line.ok("token", "inspect", token)).out
    claims = msgspec.json.decode(shown[shown.index("}\n") + 2 : shown.index("token is valid")])
    assert before <= claims["iat"] <= time.time()
    assert claims["exp"] - claims["iat"] == 60

"""Discovery as an independent client sees it: the official one for JavaScript, as the operator."""

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devstack.embedded import Nats, embedded_nats
from service.messages import Reply, Request
from tests.support.bus_service import echo, operations
from tests.support.shipped_nats import CONFIG, ENVIRONMENT, PASSWORDS, the_service

SOURCE = Path(__file__).parent / "services_client"
CACHE = Path(__file__).parents[2] / ".cache" / "services_client"

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def server(servers_directory: Path) -> Iterator[Nats]:
    with embedded_nats(
        servers_directory / "nats-interop", config=CONFIG, environment=ENVIRONMENT
    ) as server:
        yield server


@pytest.fixture(scope="module")
def client() -> Path:
    """Return the program, its packages installed beside the cache, not into the tree."""
    CACHE.mkdir(parents=True, exist_ok=True)
    for file in SOURCE.iterdir():
        if file.is_file():
            shutil.copy(file, CACHE)
    done = subprocess.run(
        ["npm", "install"], cwd=CACHE, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return CACHE / "discover.js"


async def discovered(client: Path, server: Nats) -> dict[str, Any]:
    environment = {
        **os.environ,
        "NATS_URL": server.url,
        "NATS_USER": "operator",
        "NATS_PASSWORD": PASSWORDS["operator"],
    }
    process = await asyncio.create_subprocess_exec(
        "node", str(client), env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    seen: dict[str, Any] = json.loads(out)
    return seen


async def test_the_official_client_finds_both_instances_and_their_figures(
    client: Path, server: Nats
) -> None:
    async def picky(request: Request) -> Reply:
        if request.body == b"refuse":
            return Reply({}, b"", (409, "INSTALL_DISABLED"))
        return await echo(request)

    async with the_service(server, "one", picky), the_service(server, "two", picky):
        seen = await discovered(client, server)
    for kind in ("ping", "info", "stats"):
        assert [each["id"] for each in seen[kind]] == ["one", "two"]
        assert {each["type"] for each in seen[kind]} == {f"io.nats.micro.v1.{kind}_response"}
    assert [each["id"] for each in seen["one"]] == ["one"]
    assert [each["subject"] for each in seen["info"][0]["endpoints"]] == [
        each.subject for each in operations()
    ]
    assert (seen["error"], seen["code"]) == ("INSTALL_DISABLED", "409")
    figures = [
        endpoint
        for instance in seen["stats"]
        for endpoint in instance["endpoints"]
        if endpoint["name"] == "runNow"
    ]
    assert sum(each["num_requests"] for each in figures) == 1
    assert sum(each["num_errors"] for each in figures) == 1
    assert sorted(each["last_error"] for each in figures) == ["", "409:INSTALL_DISABLED"]

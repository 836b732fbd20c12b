"""A development Runner with components in it, and calls to them."""

import base64
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import psutil

from contracts.execution import ExecuteContext, ExecuteResponse
from runner_bridge.dev_runner.build import build_extension
from runner_bridge.dev_runner.components import install
from runner_bridge.dev_runner.host import SchedulerFor
from runner_bridge.dev_runner.server import RunnerSettings, running
from runner_bridge.dev_runner.sources import install_sources
from tests.support.scheduling import MemoryScheduler

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "examples" / "scheduler_demo"
BARE = ROOT / "tests" / "extensions" / "bare"
EXTRA_IMPORTS = ROOT / "tests" / "extensions" / "extra_imports"
# Compiling a Python guest takes seconds, so its machine code outlives the test run.
COMPILED = ROOT / ".cache" / "compiled"
ALL = ["cap:context.read", "cap:log.emit", "cap:storage.kv", "cap:scheduler.manage"]
TENANT = "tenant-a"


class Runner:
    """A running development Runner; ``components`` is where its components are."""

    def __init__(self, url: str, components: Path, session: aiohttp.ClientSession) -> None:
        self.url = url
        self.components = components
        self.session = session

    async def post(self, body: Any, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        """Post any document; give the HTTP status and the answer."""
        data = io.BytesIO(body if isinstance(body, bytes) else msgspec.json.encode(body))
        async with self.session.post(
            f"{self.url}/v1/execute", data=data, headers=headers
        ) as response:
            return response.status, await response.json()

    async def execute(
        self,
        content_hash: str,
        path: str = "/",
        headers: dict[str, str] | None = None,
        **given: Any,
    ) -> ExecuteResponse:
        """Execute; fails unless the Runner says that the execution took place.

        Compiling goes on where the time limit cut the waiting short, so that is waited for.
        """
        status, answer = await self.post(document(content_hash, path, **given), headers)
        while status == 503 and answer["error"].startswith("component_loading: "):
            status, answer = await self.post(document(content_hash, path, **given), headers)
        assert status == 200, answer
        return msgspec.convert(answer, ExecuteResponse)


@asynccontextmanager
async def development_runner(
    directory: Path, scheduler: MemoryScheduler | SchedulerFor | None = None, **settings: Any
) -> AsyncIterator[Runner]:
    """Run one, with an empty directory of components below ``directory``."""
    components = directory / "components"
    components.mkdir(exist_ok=True)
    limits = RunnerSettings(components=components, cache=COMPILED, **settings)
    asked = scheduler if callable(scheduler) else always(scheduler or MemoryScheduler())
    async with running(limits, asked) as url, aiohttp.ClientSession() as session:
        yield Runner(url, components, session)


def always(scheduler: MemoryScheduler) -> SchedulerFor:
    """Give the same scheduler to every execution."""

    def scheduler_for(_context: ExecuteContext, _capabilities: frozenset[str]) -> MemoryScheduler:
        return scheduler

    return scheduler_for


def document(content_hash: str | None, path: str = "/", **given: Any) -> dict[str, Any]:
    """Give an execute request; ``method``, ``body``, ``providers``, ``timeout_ms``, ``install``."""
    http: dict[str, Any] = {"method": given.get("method", "GET"), "path": path}
    if "body" in given:
        http["body_b64"] = base64.b64encode(given["body"]).decode()
    return {
        "context": {
            "request_id": "request-1",
            "tenant_id": given.get("tenant", TENANT),
            "extension_id": "extension-1",
            "install_id": given.get("install", "install-1"),
            "version_id": "version-1",
            "content_hash": content_hash,
            "trigger": "schedule",
        },
        "http": http | given.get("http", {}),
        "limits": {"timeout_ms": given.get("timeout_ms", 90_000)},
        "providers": given.get("providers", ALL),
    }


def guest_processes() -> list[psutil.Process]:
    """Give this process' guest processes that run."""
    found = []
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):  # it has ended meanwhile
            if "runner_bridge.dev_runner.guest" in child.cmdline():
                found.append(child)
    return found


def installed(source: Path, runner: Runner) -> str:
    """Build an extension and install it; give its content hash."""
    return install(build_extension(source), runner.components)


def installed_sources(source: Path, runner: Runner) -> str:
    """Install the sources of an extension; give their content hash."""
    return install_sources(source, runner.components, ROOT / ".cache" / "extensions")


def json_of(response: ExecuteResponse) -> Any:
    """Read the guest's JSON body; fails where there is an error instead."""
    assert response.error is None, response.error
    assert response.body_b64 is not None
    return msgspec.json.decode(base64.b64decode(response.body_b64))

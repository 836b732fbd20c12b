"""A tenant's life from the first key to its removal, by the command line alone.

Every process is the program itself, and the extension is real WebAssembly. Only its own setup page
is called as the platform's screens would call it: on the Runner.
"""

import base64
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from devstack.embedded.servers import free_port
from devstack.processes import Program, running
from runner_bridge.dev_runner.build import build_extension
from runner_bridge.dev_runner.components import install as install_component
from tests.support.command_line import CommandLine, error_line
from tests.support.database_roles import Roles, two_roles
from tests.support.responders import PATIENT
from tests.support.running_extensions import COMPILED, DEMO, ROOT

Settings = Mapping[str, str]
YEARLY = "0 0 1 1 *"
"""Of the schedule that is run by hand: its own slot is not to get in the way."""


@pytest.fixture
async def roles(empty_database: str) -> AsyncIterator[Roles]:
    async with two_roles(empty_database, granted=False) as roles:
        yield roles


@pytest.fixture
def settings(tmp_path: Path, roles: Roles, nats_url: str) -> Settings:
    """Return the settings of every process and command; only `migrate` is run by the owner."""
    return {
        "database_url": roles.runtime_dsn,
        "nats_url": nats_url,
        "key_set_file": str(tmp_path / "keys.json"),
        "runner_key_file": str(tmp_path / "worker.json"),
        "admin_key_file": str(tmp_path / "admin.json"),
        "admin_subject": "ada",
        **PATIENT,
    }


@asynccontextmanager
async def everything(home: Path, settings: Settings) -> AsyncIterator[str]:
    """Run responder, worker, Runner and bridge; give the Runner's URL."""
    runner = f"http://127.0.0.1:{free_port()}"
    places = ("--components", str(home / "components"), "--cache", str(COMPILED))
    commands = {
        "responder": ["serve", "--role", "responder"],
        "worker": ["serve", "--role", "worker"],
        "dev-runner": [
            "dev-runner",
            *("--port", runner.rpartition(":")[2]),
            *places,
            *("--key", str(home / "runner.json")),
        ],
        "bridge": ["bridge", "--runner", runner],
    }
    async with AsyncExitStack() as stack:
        for name, words in commands.items():
            port = free_port()
            own = {**settings, "http_port": str(port)}
            url = f"{runner}/healthz" if name == "dev-runner" else f"http://127.0.0.1:{port}/readyz"
            program = Program(name=name, arguments=words, settings=own, ready_url=url)
            await stack.enter_async_context(running(program, home / name))
        yield runner


async def set_up(runner: str, registered: Mapping[str, str], content_hash: str) -> Any:
    """Call the extension's own setup."""
    document = {
        "context": {
            "request_id": "setup",
            "tenant_id": "acme",
            "extension_id": registered["registryId"],
            "install_id": registered["installId"],
            "version_id": registered["versionId"],
            "content_hash": content_hash,
            "config": {},
        },
        "http": {
            "method": "POST",
            "path": "/api/setup",
            "query": {},
            "headers": {},
            "body_b64": base64.b64encode(msgspec.json.encode({"heartbeat": YEARLY})).decode(),
        },
        "limits": {"timeout_ms": 240_000},
        "providers": ["cap:context.read", "cap:log.emit", "cap:storage.kv", "cap:scheduler.manage"],
    }
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{runner}/v1/execute", data=msgspec.json.encode(document)) as response,
    ):
        answer = await response.json()
    return msgspec.json.decode(base64.b64decode(answer["body_b64"]))


def write_second_version(home: Path) -> None:
    """Write the sample's next version, which has no status page any more."""
    manifest = msgspec.json.decode((DEMO / "manifest.json").read_bytes())
    manifest["version"] = "2.0.0"
    endpoints = manifest["api"]["endpoints"]
    manifest["api"]["endpoints"] = [each for each in endpoints if each["path"] != "/api/status"]
    (home / "manifest-2.json").write_bytes(msgspec.json.encode(manifest))


@pytest.mark.timeout(600)
async def test_a_tenant_passes_its_whole_life_cycle(
    tmp_path: Path, settings: Settings, roles: Roles
) -> None:
    line = CommandLine(tmp_path, settings)
    component = build_extension(DEMO, ROOT / ".cache" / "extensions")
    content_hash = install_component(component, tmp_path / "components")
    shutil.copy(component, tmp_path / "ext.wasm")
    shutil.copy(DEMO / "manifest.json", tmp_path)
    write_second_version(tmp_path)

    await prepared(line, roles)
    async with everything(tmp_path, settings) as runner:
        assert "has what serve needs, and no more" in (await line.ok("check")).out
        acme = await installed(line, "acme", "manifest.json")
        assert await set_up(runner, acme, content_hash) == {
            "created": ["status", "heartbeat"],
            "present": [],
            "failed": {},
        }
        schedules = await looked_at(line)
        await run_by_hand(line, schedules["heartbeat"])
        await updated(line, acme["installId"])
        await paused_and_resumed(line, schedules["heartbeat"])
        await moved_elsewhere(line)
        await gone(line)


async def prepared(line: CommandLine, roles: Roles) -> None:
    """New keys and tables."""
    (line.home / "keys.json").unlink()
    for name, issuer, audience in (
        ("runner", "runner", "host"),
        ("worker", "ext-scheduler", "runner"),
        ("admin", "operator", "admin"),
    ):
        (line.home / f"{name}.json").unlink(missing_ok=True)
        words = ("--issuer", issuer, "--audience", audience)
        operator = ("--operator",) if name == "admin" else ()
        files = ("--private", f"{name}.json", "--public", "keys.json", "--add")
        await line.ok("keys", "generate", *files, *words, *operator)
    migrate = ("migrate", "--grants", roles.runtime)
    out = (await line.ok(*migrate, database_url=roles.owner_dsn)).out
    assert "the database is up to date" in out


async def installed(line: CommandLine, tenant: str, manifest: str) -> dict[str, str]:
    """Register a version of the sample."""
    words = ("--tenant", tenant, "--component", "ext.wasm", "--grant-declared")
    answer: dict[str, str] = await line.json("admin", "register", manifest, *words)
    return answer


async def looked_at(line: CommandLine) -> dict[str, str]:
    """Return the ids of the schedules by name."""
    table = (await line.ok("admin", "list", "--tenant", "acme")).out
    assert "heartbeat" in table
    assert "/api/status" in table
    schedules = (await line.json("admin", "list", "--tenant", "acme"))["schedules"]
    assert {each["cron"] for each in schedules} == {"0 * * * *", YEARLY}
    return {each["name"]: each["id"] for each in schedules}


async def run_by_hand(line: CommandLine, schedule_id: str) -> None:
    run = await line.json("admin", "run-now", schedule_id, "--wait", "100")
    assert (run["status"], run["httpStatus"], run["kind"]) == ("success", 200, "manual")
    assert run["id"] in (await line.ok("admin", "history", schedule_id)).out
    runs = (await line.json("admin", "history", schedule_id, "--status", "success"))["runs"]
    assert run["id"] in {each["id"] for each in runs}
    of_tenant = (await line.json("admin", "history", "--tenant", "acme"))["runs"]
    assert run["id"] in {each["id"] for each in of_tenant}
    assert (await line.json("admin", "show", schedule_id))["schedule"]["lastRunStatus"] == "success"


async def updated(line: CommandLine, install_id: str) -> None:
    """Blocked, tried, done with the missing one disabled, and back again."""
    error_line(await line("admin", "update", install_id, "--version", "2.0.0"), 5)
    assert (await installed(line, "acme", "manifest-2.json"))["installId"] == install_id
    update = ("admin", "update", install_id, "--version", "2.0.0")
    blocked = await line(*update)
    assert "--disable-missing-schedules" in error_line(blocked, 6)
    assert "/api/status" in blocked.out
    tried = (await line.ok(*update, "--disable-missing-schedules", "--dry-run")).out
    assert tried.startswith("dry run: no changes made")
    assert (await line.json("admin", "list", "--no-enabled"))["schedules"] == []
    await line.ok(*update, "--disable-missing-schedules")
    (off,) = (await line.json("admin", "list", "--no-enabled"))["schedules"]
    assert (off["name"], "missing endpoint" in off["lastError"]) == ("status", True)
    assert "status" in (await line.ok("admin", "update", install_id, "--version", "1.0.0")).out
    assert (await line.json("admin", "list", "--no-enabled"))["schedules"] == []


async def paused_and_resumed(line: CommandLine, schedule_id: str) -> None:
    assert (await line.ok("admin", "pause", "acme")).out == "paused\n"
    assert (await line.ok("admin", "resume", "acme")).out == "resumed\n"
    assert (await line.json("admin", "run-now", schedule_id))["success"]


async def moved_elsewhere(line: CommandLine) -> None:
    await line.ok("admin", "export", "acme", "--out", "acme.json")
    assert (await line.ok("admin", "purge", "acme", "--yes")).out.startswith("INSTALLS REMOVED")
    assert (await line.json("admin", "list"))["schedules"] == []
    imported = ("admin", "import", "acme.json", "--tenant", "other")
    assert (await line(*imported)).status in {3, 5, 6}  # the extension is not installed there
    await installed(line, "other", "manifest.json")
    assert "2" in (await line.ok(*imported, "--dry-run")).out
    assert (await line.json("admin", "list"))["schedules"] == []
    assert (await line.json(*imported))["created"] == 2
    (both := (await line.json("admin", "list"))["schedules"]).sort(key=lambda each: each["name"])
    assert [each["name"] for each in both] == ["heartbeat", "status"]
    assert {each["tenantId"] for each in both} == {"other"}


async def gone(line: CommandLine) -> None:
    """Nothing is left but what was done."""
    (install_id,) = {each["installId"] for each in (await line.json("admin", "list"))["schedules"]}
    removed = await line.json("admin", "uninstall", install_id, "--yes")
    assert removed["schedulesRemoved"] == 2
    error_line(await line("admin", "uninstall", install_id, "--yes"), 5)
    entries = (await line.json("admin", "audit", "--all", "--since", "1h"))["entries"]
    done = {entry["op"] for entry in entries if entry["actor"] == "operator/ada"}
    assert done == {
        "registerInstall",
        "runNow",
        "updateInstall",
        "setTenantPaused",
        "purgeTenant",
        "importTenant",
        "uninstall",
    }
    assert {entry["tenantId"] for entry in entries} == {"acme", "other"}

"""Keys change while requests are made: no process restarts, and nothing is refused."""

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import msgspec

from contracts.context import Key, signing_key
from contracts.subjects import HOST_AUDIENCE
from runner_bridge.client import InstallContext, SchedulerHost
from runner_bridge.requests import RequestSettings, SignedRequests
from service.runtime.key_file import KeyRing
from tests.support.command_line import CommandResult, command_line, error_line
from tests.support.platform import Installed, install
from tests.support.responders import PATIENT, clients, responders

CALLERS = 4
ONCE = RequestSettings(attempt_timeout_s=60.0, total_timeout_s=60.0)
ROTATE = ("keys", "rotate", "--private", "runner.json", "--public", "keys.json")


def kids(file: Path) -> list[str]:
    return [jwk["kid"] for jwk in msgspec.json.decode(file.read_bytes())["keys"]]


@asynccontextmanager
async def load(
    nats_url: str, installed: Installed, key: Callable[[], Key]
) -> AsyncIterator[Counter[str]]:
    """Callers that never pause, for the length of the block; a refusal fails it.

    Gives the number of successful requests by the key that signed them.
    """
    succeeded, enough = Counter[str](), asyncio.Event()
    used = InstallContext(install_id=installed.install_id, tenant_id=installed.tenant_id)
    async with clients(nats_url, CALLERS) as connections:

        async def call(number: int) -> None:
            signed_by = ""

            def noted() -> Key:
                nonlocal signed_by
                chosen = key()
                signed_by = chosen.kid
                return chosen

            host = SchedulerHost(SignedRequests(connections[number], noted, ONCE), used)
            while not enough.is_set():
                await host.list()
                succeeded[signed_by] += 1

        async with asyncio.TaskGroup() as group:
            for number in range(CALLERS):
                group.create_task(call(number))
            yield succeeded
            enough.set()


async def test_a_rotation_under_load_refuses_nothing(
    tmp_path: Path, database: str, pool: asyncpg.Pool, nats_url: str
) -> None:
    line, installed = command_line(tmp_path, nats_url), await install(pool)
    (tmp_path / "service").mkdir()
    settings = {**PATIENT, "key_set_file": str(tmp_path / "keys.json")}
    ring = KeyRing(tmp_path / "runner.json")

    def key() -> Key:
        return signing_key(ring.current(), HOST_AUDIENCE)

    async with (
        responders(2, tmp_path / "service", database, nats_url, **settings),
        load(nats_url, installed, key) as succeeded,
    ):
        # Whoever looks at the files does so within a second; what was signed just before may be
        # a good while on its way on a crowded machine.
        said = await line.ok(*ROTATE, "--spread", "3", "--outlive", "12", "--kid", "runner-2")
    assert "removed key runner-1" in said.out
    assert min(succeeded["runner-1"], succeeded["runner-2"]) > 10, succeeded
    assert kids(tmp_path / "runner.json") == ["runner-2"]
    assert kids(tmp_path / "keys.json") == ["platform-1", "operator-1", "worker-1", "runner-2"]


async def test_rotation_steps_require_their_order_and_may_be_repeated(
    tmp_path: Path, nats_url: str
) -> None:
    line = command_line(tmp_path, nats_url)
    private, public = tmp_path / "runner.json", tmp_path / "keys.json"
    private.chmod(0o640)
    assert "start with --step add" in error_line(await line(*ROTATE, "--step", "switch"), 6)
    assert "no old key" in error_line(await line(*ROTATE, "--step", "remove"), 6)
    await line.ok(*ROTATE, "--step", "add", "--kid", "new")
    assert kids(private) == ["runner-1", "new"]
    assert "in progress" in error_line(await line(*ROTATE, "--step", "add"), 6)
    assert "still signs" in error_line(await line(*ROTATE, "--step", "remove"), 6)
    for _ in range(2):
        await line.ok(*ROTATE, "--step", "switch")
        assert kids(private) == ["new", "runner-1"]
    assert {"runner-1", "new"} < set(kids(public))
    await line.ok(*ROTATE, "--step", "remove")
    assert kids(private) == ["new"]
    assert private.stat().st_mode & 0o777 == 0o640


async def test_an_addition_that_was_cut_short_is_completed(tmp_path: Path, nats_url: str) -> None:
    line = command_line(tmp_path, nats_url)
    before = (tmp_path / "keys.json").read_bytes()
    await line.ok(*ROTATE, "--step", "add", "--kid", "new")
    (tmp_path / "keys.json").write_bytes(before)  # the second file was not written any more
    await line.ok(*ROTATE, "--step", "add")
    assert kids(tmp_path / "runner.json") == ["runner-1", "new"]
    assert kids(tmp_path / "keys.json")[-1] == "new"


async def test_an_interrupted_rotation_prints_the_next_step(tmp_path: Path, nats_url: str) -> None:
    line = command_line(tmp_path, nats_url)
    rotating = await line.start(*ROTATE, "--kid", "new", "--spread", "60")
    assert rotating.stderr is not None
    assert b"waiting 60 s" in await rotating.stderr.readline()
    rotating.send_signal(signal.SIGINT)
    out, err = await rotating.communicate()
    message = error_line(CommandResult(rotating.returncode or 0, out.decode(), err.decode()), 130)
    assert message == "interrupted after add; continue with --step switch"
    await line.ok(*ROTATE, "--step", "switch")
    await line.ok(*ROTATE, "--step", "remove")
    assert kids(tmp_path / "runner.json") == ["new"]

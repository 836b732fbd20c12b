"""The real pg-boss beside this service: what it fires before a cut-over, not after, and back again.

Version 12 refuses queue names with a colon, which the platform's have: it gets others here.
"""

import asyncio
import json
import shutil
import subprocess
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from msgspec import Struct, field

from service.storage.engine.clock import read as database_time
from tests.support.admin import operator
from tests.support.eventually import eventually
from tests.support.job_runners import Setting, make_setting

SOURCE = Path(__file__).parent / "pg_boss"
CACHE = Path(__file__).parents[2] / ".cache" / "pg_boss"
SEPARATORS = {"pg-boss-10": ":", "pg-boss-12": "."}
A_MINUTE_AND_A_SLOT_S = 180.0
"""Within that time a schedule of every minute is fired, on however busy a machine."""

pytestmark = pytest.mark.timeout(900)


class Boss(Struct):
    """A running pg-boss, and the queues of the jobs that it fired."""

    process: Process
    lines: list[dict[str, Any]] = field(default_factory=list)

    @property
    def fired(self) -> list[str]:
        """Return the queues of its jobs, in order."""
        return [line["fired"] for line in self.lines if "fired" in line]

    async def listen(self) -> None:
        """Read what it reports until it ends."""
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.lines.append(json.loads(line))

    async def do(self, command: str, name: str = "") -> None:
        """Have it do what the platform's code does."""
        assert self.process.stdin is not None
        before = len(self.done)
        self.process.stdin.write(json.dumps([command, name]).encode() + b"\n")
        await eventually(lambda: len(self.done) > before, within=60)
        assert self.done[-1] == command, self.lines

    @property
    def done(self) -> list[str]:
        """Return the commands that it has carried out, or refused."""
        answers = [line.get("done") or line.get("reason") for line in self.lines]
        return [answer for answer in answers if answer is not None]


@pytest.fixture(scope="module")
def program() -> Path:
    """Return the program, its packages installed beside the cache, not into the tree."""
    shutil.copytree(SOURCE, CACHE, dirs_exist_ok=True)
    done = subprocess.run(
        ["npm", "install"], cwd=CACHE, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return CACHE


@asynccontextmanager
async def running(program: Path, module: str, dsn: str) -> AsyncIterator[Boss]:
    """Run pg-boss with the schema ``pgboss``, which it creates."""
    process = await asyncio.create_subprocess_exec(
        "node", "boss.js", module, dsn, "pgboss", cwd=program, stdin=PIPE, stdout=PIPE
    )
    boss = Boss(process)
    listening = asyncio.create_task(boss.listen())
    try:
        await eventually(lambda: boss.done == ["start"], within=60)
        yield boss
    finally:
        process.kill()
        await process.wait()
        await listening


async def give_job(setting: Setting, boss: Boss, id_: UUID, name: str) -> None:
    """Give a schedule a job and its row the handle, as the platform's code does."""
    await boss.do("schedule", name)
    await setting.pool.execute(
        "UPDATE tenant_extension_schedule SET job_id = $2, runner_schedule_id = $3 WHERE id = $1",
        id_,
        uuid4(),
        name,
    )


@pytest.mark.parametrize("module", SEPARATORS)
async def test_pg_boss_fires_until_it_is_adopted_and_again_once_released(
    program: Path, database: str, pool: asyncpg.Pool, module: str
) -> None:
    setting = await make_setting(pool)
    everybody = operator(setting.admin.dispatcher)
    ids = [await setting.unowned(cron="* * * * *") for _ in range(2)]
    separator = SEPARATORS[module]
    names = {id_: separator.join(["extsched", str(setting.install_id), str(id_)]) for id_ in ids}
    async with running(program, module, database) as boss:
        for id_, name in names.items():
            await give_job(setting, boss, id_, name)
        await eventually(
            lambda: set(boss.fired) == set(names.values()), within=A_MINUTE_AND_A_SLOT_S
        )
        assert await drivers(setting) == {"other"}

        body = {"tenantId": "tenant-1", "pgBossSchema": "pgboss"}
        looked = await everybody("adopt", **body, dryRun=True)
        adopted = await everybody("adopt", **body)
        assert (adopted["adopted"], adopted["pgBossRemoved"]) == (2, 2), adopted
        assert adopted["pgBossQueuesRemoved"] == 2
        assert looked == adopted
        assert adopted["handlesInAll"] == 0
        assert await drivers(setting) == {"scheduler"}
        assert await setting.timers() == set(ids)
        assert await pool.fetch("SELECT name FROM pgboss.schedule") == []
        assert await pool.fetch("SELECT FROM pgboss.queue WHERE name LIKE 'extsched%'") == []

        before = len(boss.fired)
        await two_minutes_begin(pool)
        assert boss.fired[before:] == []

        released = await everybody("release", tenantId="tenant-1")
        assert released["released"] == 2
        assert await setting.timers() == set()
        for id_, name in names.items():
            await give_job(setting, boss, id_, name)
        await eventually(
            lambda: set(boss.fired[before:]) == set(names.values()),
            within=A_MINUTE_AND_A_SLOT_S,
        )
        assert await drivers(setting) == {"other"}


async def drivers(setting: Setting) -> set[str]:
    """Return who drives the schedules, as an administrator is shown it."""
    listed = (await setting.admin("listSchedules"))["schedules"]
    return {each["drivenBy"] for each in listed}


async def two_minutes_begin(pool: asyncpg.Pool) -> None:
    """Wait until the second minute from now has begun, by a moment: slots of both have passed."""
    async with pool.acquire() as connection:
        began = await database_time(connection)

        async def passed() -> bool:
            now = await database_time(connection)
            return (now.timestamp() - 5) // 60 >= began.timestamp() // 60 + 2

        await eventually(passed, within=240)

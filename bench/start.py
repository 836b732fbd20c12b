"""``make bench-start``: the processor time that each command takes to start, and to ask once.

Every command shows its help; those that read also ask a responder that runs beside, with the
schedules of one tenant. The least of a few starts counts: what else the machine does adds to them.
Fails where one is above its aim.
"""

import argparse
import asyncio
import os
import resource
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import asyncpg
from msgspec import Struct

from bench.console import fill
from devstack.embedded import embedded_nats, embedded_postgres
from devstack.home import Ports, nats_passwords, nats_user, write_keys
from devstack.places import NATS_CONF
from devstack.processes import running
from devstack.stack import roles
from service.cli.admin.command_specs import all_specs
from service.cli.lazy_group import COMMANDS

SCHEDULES = 50
AIM_S, VERSION_AIM_S = 0.35, 0.15
READS = (
    ("admin", "list"),
    ("admin", "show", "SCHEDULE"),
    ("admin", "why", "SCHEDULE", "--at", "02:30"),
    ("admin", "history", "SCHEDULE"),
    ("admin", "tenants"),
    ("admin", "installs"),
    ("admin", "stats"),
    ("admin", "load"),
    ("admin", "audit"),
    ("admin", "preview-cron", "30 2 * * *"),
    ("admin", "pause", "bench-1"),
    ("admin", "resume", "bench-1"),
    ("cron", "30 2 * * *"),
    ("console", "link"),
)
SCHEDULE = "SELECT id FROM tenant_extension_schedule LIMIT 1"


class StartCost(Struct, frozen=True):
    """The processor seconds of a command, user and system together."""

    words: tuple[str, ...]
    seconds: float

    @property
    def aim(self) -> float:
        """Return what it may take."""
        return VERSION_AIM_S if self.words == ("--version",) else AIM_S


def measure(words: Sequence[str], times: int, settings: dict[str, str]) -> StartCost:
    """Return the least cost of a command that succeeds."""
    costs = []
    for _ in range(times):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        program = [sys.executable, "-m", "service", *words]
        subprocess.run(program, env={**os.environ, **settings}, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        costs.append(
            after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        )
    return StartCost(tuple(words), min(costs))


@asynccontextmanager
async def served(home: Path) -> AsyncIterator[tuple[dict[str, str], str]]:
    """Run a responder within the context; yield an operator's settings, and a schedule's id."""
    passwords = nats_passwords(home)
    environment = {
        f"EXT_SCHEDULER_NATS_{user.upper()}_PASSWORD": password
        for user, password in passwords.items()
    }
    write_keys(home)
    with (
        embedded_postgres() as postgres,
        embedded_nats(home / "nats", config=NATS_CONF, environment=environment) as nats,
    ):
        connection = await asyncpg.connect(postgres.dsn)
        await fill(connection, SCHEDULES)
        schedule_id = str(await connection.fetchval(SCHEDULE))
        await connection.close()
        common = {
            "database_url": postgres.dsn,
            "nats_url": nats.url,
            "key_set_file": str(home / "keys.json"),
            "runner_key_file": str(home / "worker.json"),
        }
        programs = roles(home, common, passwords, Ports(home))
        responder = next(program for program in programs if program.name == "responder")
        own = {
            "nats_url": nats.url,
            **nats_user("operator", passwords),
            "admin_key_file": str(home / "operator.json"),
        }
        async with running(responder, home / "responder"):
            yield {f"EXT_SCHEDULER_{name.upper()}": text for name, text in own.items()}, schedule_id


async def run(times: int) -> int:
    """Measure, print; return the exit status."""
    helps = [("--version",), ("--help",), *((name, "--help") for name in COMMANDS)]
    helps += [("admin", spec.name, "--help") for spec in all_specs()]
    costs = [measure(words, times, {}) for words in helps]
    with TemporaryDirectory() as directory:
        async with served(Path(directory)) as (settings, schedule_id):
            for words in READS:
                asked = [schedule_id if word == "SCHEDULE" else word for word in words]
                cost = await asyncio.to_thread(measure, asked, times, settings)
                costs.append(StartCost(words, cost.seconds))
    print("| command | CPU s |\n| --- | --: |")
    for cost in sorted(costs, key=lambda cost: -cost.seconds):
        print(f"| `{' '.join(cost.words)}` | {cost.seconds:.2f} |")
    slow = [" ".join(cost.words) for cost in costs if cost.seconds > cost.aim]
    print(f"\nload {os.getloadavg()[0]:.1f}; above the aim: {', '.join(slow) or 'none'}")
    return 1 if slow else 0


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=5)
    sys.exit(asyncio.run(run(parser.parse_args().times)))


if __name__ == "__main__":
    main()

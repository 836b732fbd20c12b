"""Runs the whole system on one machine: embedded servers, a process per role, the sample."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import asyncpg
from msgspec import Struct

from contracts.admin_installs import Manifest
from devstack.embedded import (
    Nats,
    Postgres,
    ServerFailed,
    embedded_nats,
    embedded_postgres,
    kept_directory,
    private_directory,
)
from devstack.embedded.directories import DirectoryInUse
from devstack.embedded.servers import HOST
from devstack.errors import StackError
from devstack.extension import (
    COMPILE_TIMEOUT_S,
    InstalledExtension,
    build_source,
    development_version,
)
from devstack.home import Ports, nats_passwords, nats_user, write_keys
from devstack.manifest import manifest_hints
from devstack.places import COMPILED_CACHE, NATS_CONF, SAMPLE
from devstack.processes import Program, RunningProgram, running
from devstack.progress import detail, phase, step
from devstack.state import DevState
from service.storage.engine.migrate import migrate
from service.storage.platform.registry import register

TENANT = "demo-tenant"
PROGRAMS = ("responder", "dev-runner", "bridge", "worker", "console")


class DevStack(Struct, frozen=True):
    """The running components and their addresses.

    ``settings`` are those common to all processes, by name in lower case; ``passwords`` those of
    the users in nats.conf.
    """

    home: Path
    postgres: Postgres
    nats: Nats
    settings: Mapping[str, str]
    passwords: Mapping[str, str]
    extension: InstalledExtension
    runner_url: str
    console_url: str
    programs: list[RunningProgram]
    left_out: list[Program]
    kept: bool

    @property
    def state(self) -> DevState:
        """Return what commands in another terminal need to know."""
        return DevState(
            home=str(self.home),
            runner_url=self.runner_url,
            nats_url=self.nats.url,
            operator_password=self.passwords["operator"],
            extension=self.extension,
        )


@asynccontextmanager
async def running_stack(
    *,
    min_interval_minutes: int,
    source: Path = SAMPLE,
    without: Collection[str] = (),
    compile_timeout_s: float = COMPILE_TIMEOUT_S,
    from_sources: bool = False,
    directory: Path | None = None,
) -> AsyncIterator[DevStack]:
    """Run the system within the context, on free ports.

    ``directory`` keeps its database, keys, ports and components; by default it is private and
    removed.

    ``source`` is the extension to install, ``from_sources`` without compiling it if possible;
    ``without`` names the programs that are not started.
    Raises StackError, with the reason, when a component does not start.
    """
    async with AsyncExitStack() as stack:
        try:
            home = stack.enter_context(
                private_directory() if directory is None else kept_directory(directory)
            )
            ports, passwords = Ports(home), nats_passwords(home)
            step("Starting PostgreSQL and NATS.")
            postgres, nats = _start_servers(
                stack, home, ports, passwords, durable=directory is not None
            )
        except (ServerFailed, DirectoryInUse) as failure:
            raise StackError(str(failure)) from None
        detail(f"{postgres.server.host}:{postgres.server.port} and {nats.url}, in {home}")
        named = "the sample extension" if source == SAMPLE else str(source)
        purpose = "to run from its sources" if from_sources else "as a WebAssembly component"
        step(f"Preparing {named} {purpose} (what is compiled is kept).")
        manifest, content_hash = await asyncio.to_thread(
            build_source, source, home / "components", compile_timeout_s, from_sources=from_sources
        )
        detail(f"{manifest.publisher}/{manifest.name} {manifest.version}, {content_hash[:19]}…")
        for hint in manifest_hints(source):
            detail(hint)
        step("Migrating the database, and installing the extension for a tenant.")
        extension = await prepare_database(postgres.dsn, manifest, content_hash)
        detail(f"tenant {TENANT}, install {extension.rows.install_id}")
        write_keys(home)
        settings = {
            "database_url": postgres.dsn,
            "nats_url": nats.url,
            "key_set_file": str(home / "keys.json"),
            "runner_key_file": str(home / "worker.json"),
            "min_interval_minutes": str(min_interval_minutes),
        }
        wanted = roles(home, settings, passwords, ports, compile_timeout_s=compile_timeout_s)
        left_out = [program for program in wanted if program.name in without]
        step(starting_text(left_out))
        programs = [
            await _start_program(stack, program, home)
            for program in wanted
            if program not in left_out
        ]
        yield DevStack(
            home=home,
            postgres=postgres,
            nats=nats,
            settings=settings,
            passwords=passwords,
            extension=extension,
            runner_url=f"http://{HOST}:{ports.take('dev-runner')}",
            console_url=f"http://{HOST}:{ports.take('console')}",
            programs=programs,
            left_out=left_out,
            kept=directory is not None,
        )
        removed = ", and removed" if directory is None else f"; {directory} keeps its state"
        step(f"Everything was stopped, in reverse order{removed}.")


def _start_servers(
    stack: AsyncExitStack, home: Path, ports: Ports, passwords: Mapping[str, str], *, durable: bool
) -> tuple[Postgres, Nats]:
    """Start PostgreSQL and NATS until the stack closes, and keep their ports.

    Raises ServerFailed.
    """
    postgres = stack.enter_context(
        embedded_postgres(home / "postgres", durable=durable, port=ports.take("postgres"))
    )
    nats = stack.enter_context(
        embedded_nats(
            home / "nats",
            config=NATS_CONF,
            ports=(ports.take("nats"), ports.take("nats-monitoring")),
            environment={
                f"EXT_SCHEDULER_NATS_{user.upper()}_PASSWORD": password
                for user, password in passwords.items()
            },
        )
    )
    ports.keep("postgres", postgres.server.port)
    ports.keep("nats", nats.server.port)
    ports.keep("nats-monitoring", nats.monitoring_port)
    return postgres, nats


async def _start_program(stack: AsyncExitStack, program: Program, home: Path) -> RunningProgram:
    """Start a program until the stack closes, and print that it is ready. Raises StackError."""
    with phase(f"{program.name:<12} starting"):
        started = await stack.enter_async_context(running(program, home / program.name))
    detail(f"{program.name:<12} ready, process {started.pid}")
    return started


def starting_text(left_out: Collection[Program]) -> str:
    """Return what the step that starts the programs says."""
    if not left_out:
        return "Starting five processes: responder, worker, Runner, bridge and console."
    names = ", ".join(program.name for program in left_out)
    return f"Starting the processes, without {names}."


def roles(
    home: Path,
    settings: Mapping[str, str],
    passwords: Mapping[str, str],
    ports: Ports,
    *,
    compile_timeout_s: float = COMPILE_TIMEOUT_S,
) -> list[Program]:
    """Return the programs of the system, in the order in which they start."""
    service, runner = nats_user("service", passwords), nats_user("runner", passwords)

    def role(name: str, user: Mapping[str, str], *arguments: str) -> Program:
        port = ports.take(f"{name}-health")
        return Program(
            name=name,
            arguments=arguments,
            settings={**settings, **user, "http_port": str(port)},
            ready_url=f"http://{HOST}:{port}/readyz",
        )

    runner_port, console_port = ports.take("dev-runner"), ports.take("console")
    runner_url = f"http://{HOST}:{runner_port}"
    console = {
        "console_port": str(console_port),
        "console_key_file": str(home / "console.json"),
    }
    key = ("--key", str(home / "runner.json"))
    directories = ("--components", str(home / "components"), "--cache", str(COMPILED_CACHE))
    storage = ("--storage", str(home / "storage.jsonl"))
    limit = ("--compile-limit", str(compile_timeout_s))
    return [
        role("responder", service, "serve", "--role", "responder"),
        Program(
            name="dev-runner",
            arguments=[
                "dev-runner",
                "--port",
                str(runner_port),
                *directories,
                *storage,
                *key,
                *limit,
            ],
            settings={**settings, **runner},
            ready_url=f"{runner_url}/healthz",
        ),
        role("bridge", runner, "bridge", "--runner", runner_url),
        role("worker", service, "serve", "--role", "worker"),
        role("console", {**nats_user("console", passwords), **console}, "console"),
    ]


async def prepare_database(dsn: str, manifest: Manifest, content_hash: str) -> InstalledExtension:
    """Migrate the database, and install an extension with all capabilities it declares."""
    connection = await asyncpg.connect(dsn)
    try:
        await migrate(connection)
        async with connection.transaction():
            version = development_version(manifest, content_hash)
            rows = await register(connection, TENANT, version, content_hash, manifest.capabilities)
    finally:
        await connection.close()
    return InstalledExtension(manifest, content_hash, rows)

"""Runs the whole system on one machine: embedded servers, a process per role, the sample."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import asyncpg
from msgspec import Struct

from contracts.admin_installs import Manifest
from contracts.context import generate_key, key_set_document, public_jwk
from contracts.subjects import ADMIN_AUDIENCE, HOST_AUDIENCE, RUNNER_AUDIENCE
from devstack.embedded import Nats, Postgres, embedded_nats, embedded_postgres, private_directory
from devstack.embedded.servers import HOST, ServerFailed, free_port
from devstack.errors import StackError
from devstack.extension import COMPILE_TIMEOUT_S, InstalledExtension, build_source
from devstack.places import COMPILED_CACHE, NATS_CONF, SAMPLE
from devstack.processes import Program, RunningProgram, running
from devstack.progress import detail, step
from devstack.state import DevState
from service.storage.engine.migrate import migrate
from service.storage.platform.registry import register

NATS_USERS = ("service", "runner", "operator", "platform", "console", "sys")
TENANT = "demo-tenant"
PROGRAMS = ("responder", "dev-runner", "bridge", "worker", "console")
KEY_PURPOSES = {
    "runner": ("runner", HOST_AUDIENCE),
    "worker": ("ext-scheduler", RUNNER_AUDIENCE),
    "operator": ("operator", ADMIN_AUDIENCE),
    "console": ("console", ADMIN_AUDIENCE),
}
"""Issuer and audience by file name of the private key."""


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
) -> AsyncIterator[DevStack]:
    """Run the system within the context, in a private directory and on free ports.

    ``source`` is the extension to install, ``from_sources`` without compiling it if possible;
    ``without`` names the programs that are not started.
    Raises StackError, with the reason, when a component does not start.
    """
    async with AsyncExitStack() as stack:
        try:
            home = stack.enter_context(private_directory())
            step("Starting PostgreSQL and NATS in a private directory, on free ports.")
            postgres = stack.enter_context(embedded_postgres(home / "postgres"))
            passwords = nats_passwords()
            nats = stack.enter_context(
                embedded_nats(
                    home / "nats",
                    config=NATS_CONF,
                    environment={
                        f"EXT_SCHEDULER_NATS_{user.upper()}_PASSWORD": password
                        for user, password in passwords.items()
                    },
                )
            )
        except ServerFailed as failure:
            raise StackError(str(failure)) from None
        detail(f"{postgres.server.host}:{postgres.server.port} and {nats.url}, in {home}")
        named = "the sample extension" if source == SAMPLE else str(source)
        purpose = "to run from its sources" if from_sources else "as a WebAssembly component"
        step(f"Preparing {named} {purpose} (what is compiled is kept).")
        manifest, content_hash = await asyncio.to_thread(
            build_source, source, home / "components", compile_timeout_s, from_sources=from_sources
        )
        detail(f"{manifest.publisher}/{manifest.name} {manifest.version}, {content_hash[:19]}…")
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
        runner_port, console_port = free_port(), free_port()
        wanted = roles(
            home,
            settings,
            passwords,
            runner_port,
            console_port,
            compile_timeout_s=compile_timeout_s,
        )
        left_out = [program for program in wanted if program.name in without]
        step(starting_text(left_out))
        programs = []
        for program in wanted:
            if program in left_out:
                continue
            started = await stack.enter_async_context(running(program, home / program.name))
            detail(f"{program.name:<12} ready, process {started.pid}")
            programs.append(started)
        runner_url = f"http://{HOST}:{runner_port}"
        yield DevStack(
            home=home,
            postgres=postgres,
            nats=nats,
            settings=settings,
            passwords=passwords,
            extension=extension,
            runner_url=runner_url,
            console_url=f"http://{HOST}:{console_port}",
            programs=programs,
            left_out=left_out,
        )
        step("Everything was stopped, in reverse order, and removed.")


def starting_text(left_out: Collection[Program]) -> str:
    """Return what the step that starts the programs says."""
    if not left_out:
        return "Starting five processes: responder, worker, Runner, bridge and console."
    names = ", ".join(program.name for program in left_out)
    return f"Starting the processes, without {names}."


def nats_passwords() -> dict[str, str]:
    """Return a new password per user of nats.conf; its syntax requires a leading letter."""
    return {user: f"p{secrets.token_hex(16)}" for user in NATS_USERS}


def nats_user(user: str, passwords: Mapping[str, str]) -> dict[str, str]:
    """Return the settings with which a process connects as ``user``."""
    return {
        "nats_user": user,
        "nats_password": passwords[user],
        "nats_inbox_prefix": f"_INBOX_{user}",
    }


def roles(
    home: Path,
    settings: Mapping[str, str],
    passwords: Mapping[str, str],
    runner_port: int,
    console_port: int,
    *,
    compile_timeout_s: float = COMPILE_TIMEOUT_S,
) -> list[Program]:
    """Return the programs of the system, in the order in which they start."""
    service, runner = nats_user("service", passwords), nats_user("runner", passwords)

    def role(name: str, user: Mapping[str, str], *arguments: str) -> Program:
        port = free_port()
        return Program(
            name=name,
            arguments=arguments,
            settings={**settings, **user, "http_port": str(port)},
            ready_url=f"http://{HOST}:{port}/readyz",
        )

    runner_url = f"http://{HOST}:{runner_port}"
    console = {
        "console_port": str(console_port),
        "console_key_file": str(home / "console.json"),
    }
    key = ("--key", str(home / "runner.json"))
    directories = ("--components", str(home / "components"), "--cache", str(COMPILED_CACHE))
    limit = ("--compile-limit", str(compile_timeout_s))
    return [
        role("responder", service, "serve", "--role", "responder"),
        Program(
            name="dev-runner",
            arguments=["dev-runner", "--port", str(runner_port), *directories, *key, *limit],
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
            rows = await register(connection, TENANT, manifest, content_hash, manifest.capabilities)
    finally:
        await connection.close()
    return InstalledExtension(manifest, content_hash, rows)


def write_keys(home: Path) -> None:
    """Write one private key set per purpose, and the public key set of all verifiers."""
    public = []
    for name, (issuer, audience) in KEY_PURPOSES.items():
        operator = audience == ADMIN_AUDIENCE
        key = generate_key(
            "EdDSA", kid=name, issuer=issuer, audiences=[audience], operator=operator
        )
        (home / f"{name}.json").touch(mode=0o600)
        (home / f"{name}.json").write_bytes(key_set_document([key]))
        public.append(public_jwk(key))
    (home / "keys.json").write_bytes(key_set_document(public))

"""``dev``: runs the stack with an extension until Ctrl-C, and prints commands to try on it."""

import asyncio
import signal
from collections.abc import Collection
from pathlib import Path

import msgspec
import typer

from contracts.admin_installs import Manifest
from devstack import state as state_file
from devstack.administration import administration, move_install
from devstack.demo import EVERY_MINUTE, run_interruptible, run_while_alive
from devstack.embedded.postgres import install_directory
from devstack.errors import StackError
from devstack.extension import development_version
from devstack.extension_calls import execute_request
from devstack.home import nats_user
from devstack.manifest import read_manifest
from devstack.places import SAMPLE, program
from devstack.progress import detail, step
from devstack.stack import PROGRAMS, TENANT, DevStack, running_stack
from devstack.watch import watch
from service.runtime.settings import PREFIX

CALLS = {
    "setup": ("POST", "/api/setup", {"heartbeat": EVERY_MINUTE}),
    "schedules": ("GET", "/api/schedules", None),
    "status": ("GET", "/api/status", None),
}
"""Calls of the sample, by name, that are written to files to be sent."""


def run(
    source: Path | None,
    *,
    watching: bool,
    without: Collection[str],
    compile_timeout_s: float,
    directory: Path | None,
) -> None:
    """Run the system with an extension, by default the sample, until Ctrl-C.

    ``watching`` installs each change of the sources; ``directory`` keeps the state. Raises
    StackError when a component ends.
    """
    if unknown := set(without) - set(PROGRAMS):
        raise StackError(f"no program {', '.join(sorted(unknown))}; there is {', '.join(PROGRAMS)}")
    extension = SAMPLE if source is None else source.resolve()
    read_manifest(extension)
    run_interruptible(
        _dev(
            extension,
            watching=watching,
            without=without,
            compile_timeout_s=compile_timeout_s,
            directory=directory,
        )
    )


async def _dev(
    source: Path,
    *,
    watching: bool,
    without: Collection[str],
    compile_timeout_s: float,
    directory: Path | None,
) -> None:
    async with running_stack(
        min_interval_minutes=1,
        source=source,
        without=without,
        compile_timeout_s=compile_timeout_s,
        from_sources=watching,
        directory=directory,
    ) as stack:
        if source == SAMPLE:
            write_calls(stack)
        state_file.write(stack.state)
        try:
            await bring_up_to_date(stack)
            step("Everything is running. Commands to try:\n")
            typer.echo(example_commands(stack, own=source != SAMPLE))
            work = _until_stopped(stack, source if watching else None, compile_timeout_s)
            await run_while_alive(work, stack)
        finally:
            state_file.remove(stack.home)
        typer.echo()


async def bring_up_to_date(stack: DevStack) -> None:
    """Update an install that an earlier run has left at another version. Raises StackError."""
    extension = stack.extension
    if extension.rows.installed_version_id == extension.rows.version_id:
        return
    if any(program.name == "responder" for program in stack.left_out):
        detail("the install stays at its version, since no responder is there to update it")
        return
    version = development_version(extension.manifest, extension.content_hash).version
    async with administration(stack.state) as call:
        await move_install(call, extension.rows.install_id, version)
    detail(f"updated the install to {version}")


async def _until_stopped(stack: DevStack, source: Path | None, compile_timeout_s: float) -> None:
    """Wait for a stop signal, and install the changes of ``source`` until then."""
    tasks = [asyncio.create_task(_wait_for_stop_signal())]
    if source is not None:
        tasks.append(asyncio.create_task(watch(stack, source, compile_timeout_s)))
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
    for task in done:
        task.result()


async def _wait_for_stop_signal() -> None:
    stopping = asyncio.Event()
    for stop_signal in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(stop_signal, stopping.set)
    await stopping.wait()


def write_calls(stack: DevStack) -> None:
    """Write a /v1/execute document per call of ``CALLS`` into the private directory."""
    for name, (method, path, body) in CALLS.items():
        document = msgspec.json.encode(execute_request(stack.extension, method, path, body))
        call_file(stack, name).write_bytes(document)


def write_operator_settings(stack: DevStack) -> Path:
    """Write a settings file for an operator, whose key acts for all tenants; return its path."""
    settings = {
        "nats_url": stack.nats.url,
        **nats_user("operator", stack.passwords),
        "admin_key_file": str(stack.home / "operator.json"),
        "console_url": stack.console_url,
    }
    file = stack.home / "operator.toml"
    file.touch(mode=0o600)
    # A JSON string is a valid TOML string.
    lines = (f"{name} = {msgspec.json.encode(text).decode()}\n" for name, text in settings.items())
    file.write_text("".join(lines))
    return file


def call_file(stack: DevStack, name: str) -> Path:
    """Return the file of a call that ``write_calls`` writes."""
    return stack.home / f"call-{name}.json"


def extension_commands(manifest: Manifest) -> list[str]:
    """Return a ``dev call`` per endpoint of a manifest, and what else an author wants."""
    calls = [
        f"{program()} dev call {endpoint.method} {endpoint.path}"
        + (" '{}'" if endpoint.method.upper() not in {"GET", "DELETE"} else "")
        for endpoint in manifest.api.endpoints
    ]
    return [*calls, f"{program()} dev fire SCHEDULE-NAME", f"{program()} dev logs"]


def start_commands(stack: DevStack) -> list[str]:
    """Return how to start the programs that were left out."""
    return [
        " ".join(
            [f"{PREFIX}{name.upper()}='{text}'" for name, text in left_out.settings.items()]
            + [program(), *left_out.arguments]
        )
        for left_out in stack.left_out
    ]


def example_commands(stack: DevStack, *, own: bool) -> str:
    """Return commands for another terminal, in the order to try them.

    ``own`` is whether the extension is the author's, not the sample.
    """
    install = stack.extension.rows.install_id
    settings = {**stack.settings, **nats_user("service", stack.passwords)}
    environment = [f"export {PREFIX}{name.upper()}={text}" for name, text in settings.items()]
    nats = f"nats -s {stack.nats.url} --user operator --password {stack.passwords['operator']}"
    nats += " --inbox-prefix _INBOX_operator"
    execute = f"curl -s {stack.runner_url}/v1/execute --data-binary"
    decoded = "| python3 -c 'import base64,json,sys; a=json.load(sys.stdin); "
    decoded += 'print(a["status"], base64.b64decode(a["body_b64"]).decode())\''
    mint = f"{program()} token mint list --key {stack.home / 'runner.json'}"
    mint += f" --install {install}"
    request = f"{nats} req ext.scheduler.list '{{}}' --no-templates"
    admin = f"{program()} --config {write_operator_settings(stack)} admin"
    psql = f"{install_directory() / 'bin' / 'psql'} '{stack.postgres.dsn}'"
    sample_calls = [f"{execute} @{call_file(stack, name)} {decoded}" for name in CALLS]
    left_out = {"Start what was left out:": start_commands(stack)} if stack.left_out else {}
    sections = {
        **(
            {"Call the extension:": extension_commands(stack.extension.manifest)}
            if own
            else {"Call the extension: its setup, its schedules, its status:": sample_calls}
        ),
        **left_out,
        "Use the bus, with the nats command line:": [
            f"{nats} micro ls",
            f"{nats} sub 'ext.scheduler.events.>'",
            f'{request} -H Content-Type:application/json -H "Ext-Context:$({mint})"',
        ],
        "Administer schedules:": [
            f"{admin} list",
            f"{admin} history --install-id {install}",
            f"{admin} run-now SCHEDULE --wait 60",
            f"{admin} pause {TENANT}",
        ],
        "Open the console, with a link that is good for a minute:": [
            f"{program()} --config {write_operator_settings(stack)} console link"
        ],
        "Query the database:": [
            f"{psql} -c 'TABLE ext_scheduler.runs'",
            f"{psql} -c 'TABLE tenant_extension_schedule'",
        ],
        "Health and metrics:": [
            f"curl -s {started.program.ready_url}   # {started.program.name}"
            for started in stack.programs
        ]
        + [f"curl -s {stack.nats.monitoring_url}/varz   # NATS"],
        "Logs:": [f"tail -f {stack.home}/*/log"],
        "Start another responder:": [
            *environment,
            f"export {PREFIX}HTTP_PORT=0",
            f"{program()} serve --role responder",
        ],
    }
    head = f"   tenant {TENANT}, install {install}; all files are in {stack.home}\n"
    blocks = [
        "\n".join([f"   {heading}", *(f"     {line}" for line in lines)])
        for heading, lines in sections.items()
    ]
    return "\n\n".join(
        [
            head.rstrip("\n"),
            *blocks,
            f"   Ctrl-C stops {'everything' if stack.kept else 'and removes everything'}.",
        ]
    )

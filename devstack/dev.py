"""``dev``: runs the demo's stack until Ctrl-C, and prints commands to try on it."""

import asyncio
import signal
from pathlib import Path

import msgspec
import typer

from devstack.demo import EVERY_MINUTE, run_interruptible, run_while_alive
from devstack.embedded.postgres import install_directory
from devstack.extension_calls import execute_request
from devstack.progress import step
from devstack.stack import TENANT, DevStack, nats_user, running_stack
from service.runtime.settings import PREFIX

CALLS = {
    "setup": ("POST", "/api/setup", {"heartbeat": EVERY_MINUTE}),
    "schedules": ("GET", "/api/schedules", None),
    "status": ("GET", "/api/status", None),
}
"""Calls of the sample, by name, that are written to files to be sent."""


def run() -> None:
    """Run the system until Ctrl-C. Raises StackError when a component ends."""
    run_interruptible(_dev())


async def _dev() -> None:
    async with running_stack(min_interval_minutes=1) as stack:
        write_calls(stack)
        step("Everything is running. Commands to try:\n")
        typer.echo(example_commands(stack))
        await run_while_alive(_wait_for_stop_signal(), stack)
        typer.echo()


async def _wait_for_stop_signal() -> None:
    stopping = asyncio.Event()
    for stop_signal in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(stop_signal, stopping.set)
    await stopping.wait()


def write_calls(stack: DevStack) -> None:
    """Write a /v1/execute document per call of ``CALLS`` into the private directory."""
    for name, (method, path, body) in CALLS.items():
        document = msgspec.json.encode(execute_request(stack, method, path, body))
        call_file(stack, name).write_bytes(document)


def write_operator_settings(stack: DevStack) -> Path:
    """Write a settings file for an operator, whose key acts for all tenants; return its path."""
    settings = {
        "nats_url": stack.nats.url,
        **nats_user("operator", stack.passwords),
        "admin_key_file": str(stack.home / "operator.json"),
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


def example_commands(stack: DevStack) -> str:
    """Return commands for another terminal, in the order to try them."""
    install = stack.sample.rows.install_id
    settings = {**stack.settings, **nats_user("service", stack.passwords)}
    environment = [f"export {PREFIX}{name.upper()}={text}" for name, text in settings.items()]
    nats = f"nats -s {stack.nats.url} --user operator --password {stack.passwords['operator']}"
    nats += " --inbox-prefix _INBOX_operator"
    execute = f"curl -s {stack.runner_url}/v1/execute --data-binary"
    decoded = "| python3 -c 'import base64,json,sys; a=json.load(sys.stdin); "
    decoded += 'print(a["status"], base64.b64decode(a["body_b64"]).decode())\''
    mint = f".venv/bin/ext-scheduler token mint list --key {stack.home / 'runner.json'}"
    mint += f" --install {install}"
    request = f"{nats} req ext.scheduler.list '{{}}' --no-templates"
    admin = f".venv/bin/ext-scheduler --config {write_operator_settings(stack)} admin"
    psql = f"{install_directory() / 'bin' / 'psql'} '{stack.postgres.dsn}'"
    sections = {
        "Call the extension: its setup, its schedules, its status:": [
            f"{execute} @{call_file(stack, name)} {decoded}" for name in CALLS
        ],
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
            ".venv/bin/ext-scheduler serve --role responder",
        ],
    }
    head = f"   tenant {TENANT}, install {install}; all files are in {stack.home}\n"
    blocks = [
        "\n".join([f"   {heading}", *(f"     {line}" for line in lines)])
        for heading, lines in sections.items()
    ]
    return "\n\n".join([head.rstrip("\n"), *blocks, "   Ctrl-C stops and removes everything."])

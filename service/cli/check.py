"""``check``: what is wrong with the configuration and the neighbours, and what to do about it."""

import logging
import os
from collections.abc import AsyncIterator
from enum import StrEnum
from typing import Annotated

import typer

from service.cli.checks import bus, database, keys
from service.cli.checks.result import Finding, ok, wrong
from service.cli.errors import CommandError
from service.cli.loop import run
from service.cli.output import cell, progress, put, put_json
from service.runtime import settings
from service.runtime.settings import PREFIX, Settings, SettingsError

EXAMPLES = """\b
Examples:
  ext-scheduler check
  ext-scheduler check --role worker && ext-scheduler serve --role worker
  ext-scheduler check --role admin --json
"""


class CheckedRole(StrEnum):
    """What this host is to be."""

    ALL = "all"
    RESPONDER = "responder"
    WORKER = "worker"
    BRIDGE = "bridge"
    ADMIN = "admin"


SERVING = (CheckedRole.RESPONDER, CheckedRole.WORKER)


def check(
    role: Annotated[CheckedRole, typer.Option(help="What to check for.")] = CheckedRole.ALL,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Look at settings, database, migrations, NATS and keys. Status 1 where something is wrong.

    \b
    Examples:
      ext-scheduler check
      ext-scheduler --config prod.toml check --role worker --json
    """
    logging.getLogger().addHandler(logging.NullHandler())  # each fault is told once, below
    found = run(_check(role, as_json=as_json))
    if as_json:
        put_json(found)
    faults = [finding for finding in found if finding.state == "wrong"]
    if faults:
        raise CommandError(f"{len(faults)} of {len(found)} checks failed")


async def _check(role: CheckedRole, *, as_json: bool) -> list[Finding]:
    found: list[Finding] = []
    async with progress(lambda: f"checking, {len(found)} done"):
        async for finding in _look(role):
            found.append(finding)
            if not as_json:
                _tell(finding)
    return found


async def _look(role: CheckedRole) -> AsyncIterator[Finding]:
    try:
        chosen = settings.load(os.environ)
    except SettingsError as error:
        yield wrong("settings", str(error), f"correct the file or the {PREFIX}* variable")
        return
    yield ok("settings", _changed(chosen))
    roles = SERVING if role is CheckedRole.ALL else (role,)
    for finding in keys.look(chosen, roles):
        yield finding
    if set(roles) & set(SERVING):
        async for finding in database.look(chosen):
            yield finding
    async for finding in bus.look(chosen, roles):
        yield finding


def _changed(chosen: Settings) -> str:
    """Name what differs from the defaults, without secrets."""
    defaults, shown = Settings().redacted(), chosen.redacted()
    changed = [f"{name}={value}" for name, value in shown.items() if value != defaults[name]]
    return ", ".join(changed) or "all defaults"


def _tell(finding: Finding) -> None:
    put(f"{finding.state:<5}  {finding.about}: {cell(finding.message)}")
    if finding.remedy:
        put(f"         → {finding.remedy}")

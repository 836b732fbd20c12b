"""``check``: errors in the configuration and the servers it names, each with a remedy."""

import logging
import os
from collections.abc import AsyncIterator
from enum import StrEnum
from typing import Annotated

import typer

from service.cli.checks.result import CheckLevel, CheckResult, error, ok
from service.cli.errors import CommandError
from service.cli.loop import run
from service.cli.output import cell, print_json, print_line, progress
from service.runtime import settings
from service.runtime.settings import PREFIX, Settings, SettingsError


class CheckedRole(StrEnum):
    """A role whose requirements are checked."""

    ALL = "all"
    RESPONDER = "responder"
    WORKER = "worker"
    BRIDGE = "bridge"
    ADMIN = "admin"


SERVICE_ROLES = (CheckedRole.RESPONDER, CheckedRole.WORKER)


def check(
    role: Annotated[CheckedRole, typer.Option(help="Role to check for.")] = CheckedRole.ALL,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Check settings, database, migrations, NATS and keys. Exits with 1 on an error.

    \b
    Examples:
      ext-scheduler check
      ext-scheduler --config prod.toml check --role worker --json
    """
    # Each error is printed once, below; the library's log lines would only repeat it.
    logging.getLogger().addHandler(logging.NullHandler())
    results = run(_check(role, as_json=as_json))
    if as_json:
        print_json(results)
    errors = [result for result in results if result.state is CheckLevel.ERROR]
    if errors:
        raise CommandError(f"{len(errors)} of {len(results)} checks failed")


async def _check(role: CheckedRole, *, as_json: bool) -> list[CheckResult]:
    results: list[CheckResult] = []
    async with progress(lambda: f"checking, {len(results)} done"):
        async for result in _run_checks(role):
            results.append(result)
            if not as_json:
                _print_check(result)
    return results


async def _run_checks(role: CheckedRole) -> AsyncIterator[CheckResult]:
    # Imported here, with the drivers that they need: not for the help.
    from service.cli.checks import bus, database, keys  # noqa: PLC0415 - see above

    try:
        loaded = settings.load(os.environ)
    except SettingsError as invalid:
        yield error("settings", str(invalid), f"correct the file or the {PREFIX}* variable")
        return
    yield ok("settings", _changed_settings(loaded))
    roles = SERVICE_ROLES if role is CheckedRole.ALL else (role,)
    for result in keys.run_checks(loaded, roles):
        yield result
    if set(roles) & set(SERVICE_ROLES):
        async for result in database.run_checks(loaded):
            yield result
    async for result in bus.run_checks(loaded, roles):
        yield result


def _changed_settings(loaded: Settings) -> str:
    """Return the settings that differ from their defaults, without secrets."""
    defaults, redacted = Settings().redacted(), loaded.redacted()
    changed = [f"{name}={value}" for name, value in redacted.items() if value != defaults[name]]
    return ", ".join(changed) or "all defaults"


def _print_check(result: CheckResult) -> None:
    print_line(f"{result.state.name.lower():<7}  {result.about}: {cell(result.message)}")
    if result.remedy:
        print_line(f"         → {result.remedy}")

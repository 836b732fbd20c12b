"""``admin adopt``: take over schedules, and remove those of Temporal by a command of the caller's.

Each handle is removed before its schedule is adopted, so that no slot has two drivers: where the
command fails, the schedule stays with the other job runner.
"""

import asyncio
import re
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Any

import typer
from msgspec import Struct

from contracts.admin_installs import AdoptInput, AdoptOutput, ForeignHandle, Problem
from service.cli.admin.client import AdminClient
from service.cli.admin.output import OutputOptions, print_result
from service.cli.admin.parameters import build_parameters, read_fields
from service.cli.errors import EXIT_USAGE, CommandError
from service.cli.output import print_notice

PLACEHOLDER = "{id}"
COMMAND_TIMEOUT_S = 60
MAX_NAME = 200
AT_ONCE = 8
"""Commands that run at the same time."""

ADOPT_OPTIONS = build_parameters(
    [
        (
            "temporal_command",
            Annotated[
                str,
                typer.Option(
                    help="Command that removes one handle, such as 'temporal schedule delete"
                    " --schedule-id {id}'; run without a shell before each schedule is adopted."
                ),
            ],
            "",
        )
    ]
)


class RemovedHandle(Struct, frozen=True, rename="camel", kw_only=True):
    """A handle, and the command that removes it, as a shell would take it."""

    schedule_id: str
    runner_schedule_id: str
    command: str


class CommandedAdoption(Struct, frozen=True, rename="camel", kw_only=True):
    """What was taken over, the handles removed by the command, and what was left and why."""

    adopted: int
    handles_removed: list[RemovedHandle]
    problems: list[Problem]


async def adopt(client: AdminClient, arguments: Mapping[str, Any]) -> None:
    """Adopt the schedules in scope; with a command, remove their handles. Raises CommandError."""
    fields = read_fields(AdoptInput, arguments)
    dry_run = bool(arguments["dry_run"])
    if not arguments["temporal_command"]:
        output = await client.call("adopt", fields)
        print_result(client, output, OutputOptions(dry_run=dry_run))
        released = sum(map(_is_nowhere, output.handles))
        _warn_of_handles((output.handles_in_all or 0) - released)
        return
    template = parse_template(arguments["temporal_command"])
    if "pgBossSchema" in fields:
        message = "--temporal-command and --pg-boss-schema: one job runner at a time"
        raise CommandError(message, EXIT_USAGE)
    result = await _adopt_by_command(client, fields, template, dry_run=dry_run)
    print_result(client, result, OutputOptions(dry_run=dry_run))
    if result.problems:
        count = len(result.problems)
        raise CommandError(f"schedules that could not be adopted: {count}")


def _warn_of_handles(count: int) -> None:
    """Say on standard error that other job runners may still drive what is adopted."""
    if count:
        handles = "1 handle is" if count == 1 else f"{count} handles are"
        print_notice(
            f"{handles} not removed by this command: a job runner that still has it goes on firing"
        )


def parse_template(text: str) -> list[str]:
    """Return the words of a command template. Raises CommandError where it names no id."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise CommandError(f"--temporal-command: {error}", EXIT_USAGE) from None
    if not any(PLACEHOLDER in word for word in words[1:]):
        raise CommandError(f"--temporal-command has no argument {PLACEHOLDER}", EXIT_USAGE)
    return words


def command_name(template: Sequence[str]) -> str:
    """Return what the audit calls the command: its program and subcommands, none of its values."""
    subcommands = takewhile(re.compile(r"[a-z][a-z-]*").fullmatch, template[1:])
    return " ".join([Path(template[0]).name, *subcommands])[:MAX_NAME]


def _is_nowhere(handle: ForeignHandle) -> bool:
    """Return whether no job runner has the schedule: it was released, and has no job yet."""
    return handle.job_id is None and handle.runner_schedule_id is None


async def _adopt_by_command(
    client: AdminClient, fields: Mapping[str, Any], template: Sequence[str], *, dry_run: bool
) -> CommandedAdoption:
    """Adopt page by page of handles, each page after its handles are gone."""
    adopted, removed, problems = 0, list[RemovedHandle](), dict[str, str]()
    while True:
        found = await _call(client, {**fields, "dryRun": True})
        problems |= {each.subject: each.message for each in found.problems}
        untried = [each for each in found.handles if each.schedule_id not in problems]
        handles = [each for each in untried if not _is_nowhere(each)]
        outcomes = await _remove_all(template, handles, dry_run=dry_run)
        problems |= {
            each.schedule_id: outcome
            for each, outcome in zip(handles, outcomes, strict=True)
            if isinstance(outcome, str)
        }
        removed += [outcome for outcome in outcomes if isinstance(outcome, RemovedHandle)]
        page = [each for each in untried if each.schedule_id not in problems]
        if dry_run or not page:
            adopted += len(page) if dry_run else 0
            unlisted = (found.handles_in_all or 0) - len(found.handles)
            if unlisted:
                print_notice(f"{unlisted} more handles were not tried: this lists one page of them")
            break
        recorded = {**fields, "handlesRemovedBy": command_name(template)}
        adopted += await _adopt_page(client, recorded, page, problems)
    listed = [Problem(subject=subject, message=text) for subject, text in problems.items()]
    return CommandedAdoption(adopted=adopted, handles_removed=removed, problems=listed)


async def _adopt_page(
    client: AdminClient,
    fields: Mapping[str, Any],
    page: Sequence[ForeignHandle],
    problems: dict[str, str],
) -> int:
    """Adopt schedules whose handles are gone; note those that are refused."""
    gone = {each.schedule_id: each.runner_schedule_id for each in page}
    try:
        output = await _call(client, {**fields, "scheduleIds": list(gone)})
    except CommandError as error:
        for id_, handle in gone.items():
            if handle is not None:
                print_notice(
                    f"{id_}: its handle was removed, and it was not adopted: adopt it again"
                )
        raise error from None
    problems |= {each.subject: each.message for each in output.problems}
    problems |= {
        each.schedule_id: f"adopted, but its handle is {each.runner_schedule_id!r} by now"
        for each in output.handles
        if each.runner_schedule_id != gone[each.schedule_id]
    }
    return output.adopted or 0


async def _call(client: AdminClient, fields: Mapping[str, Any]) -> AdoptOutput:
    output: AdoptOutput = await client.call("adopt", fields)
    if not output.success:
        print_result(client, output, OutputOptions())
    return output


async def _remove_all(
    template: Sequence[str], handles: Sequence[ForeignHandle], *, dry_run: bool
) -> list[RemovedHandle | str]:
    limit = asyncio.Semaphore(AT_ONCE)

    async def remove(handle: ForeignHandle) -> RemovedHandle | str:
        async with limit:
            return await asyncio.to_thread(_remove, template, handle, dry_run=dry_run)

    return await asyncio.gather(*(remove(handle) for handle in handles))


def _remove(
    template: Sequence[str], handle: ForeignHandle, *, dry_run: bool
) -> RemovedHandle | str:
    """Run the command for one handle; return what was removed, or why it was not."""
    id_ = handle.runner_schedule_id
    if id_ is None:
        return "it has no runnerScheduleId to remove: adopt it without --temporal-command"
    # An argument that begins with a dash would be an option of the command.
    if id_.startswith("-"):
        return f"its runnerScheduleId {id_!r} cannot be an argument"
    words = [template[0], *(word.replace(PLACEHOLDER, id_) for word in template[1:])]
    failure = "" if dry_run else _run(words)
    return failure or RemovedHandle(
        schedule_id=handle.schedule_id, runner_schedule_id=id_, command=shlex.join(words)
    )


def _run(words: Sequence[str]) -> str:
    """Run a command; return why it failed, empty where it did not."""
    try:
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
    except OSError as error:
        return f"{words[0]}: {error.strerror}"
    except subprocess.TimeoutExpired:
        return f"{words[0]} did not end within {COMMAND_TIMEOUT_S} s"
    if not done.returncode:
        return ""
    last = (done.stderr or done.stdout).strip().splitlines()[-1:]
    return ": ".join([f"{words[0]} exited with status {done.returncode}", *last])

"""``conformance``: hold a Runner or a scheduler service on the bus against the contract."""

import os
from collections.abc import AsyncIterator, Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated
from uuid import UUID

import msgspec
import typer
from msgspec import structs
from nats.aio.client import Client

from contracts.context import InvalidKeySet, Key, parse_key_set, signing_key
from contracts.encoding import Encoding, MalformedBody, decode
from contracts.execution import ExecuteRequest
from contracts.subjects import HOST_AUDIENCE, RUNNER_AUDIENCE, execute_subject
from devstack.conformance import vectors
from devstack.conformance.bus import NothingAnswersError
from devstack.conformance.cases import CaseResult, run_cases
from devstack.conformance.execute import execute_cases
from devstack.conformance.host import host_cases
from devstack.conformance.runner_peer import RunnerPeer
from devstack.conformance.samples import execute_document, foreign_key
from devstack.conformance.scheduler_peer import SchedulerPeer
from service.bus.connection import BusUnavailableError, connect
from service.cli import files
from service.cli.errors import EXIT_UNAVAILABLE, EXIT_USAGE, CommandError
from service.cli.loop import run
from service.cli.output import cell, print_json, print_line, progress
from service.runtime import settings
from service.runtime.bus_settings import bus_settings
from service.runtime.settings import Settings

CONNECT_TIMEOUT_S = 3.0
Script = Callable[[Client], AsyncIterator[CaseResult]]


class Side(StrEnum):
    """What is judged; the kit takes the other side."""

    RUNNER = "runner"
    SCHEDULER = "scheduler"


def conformance(
    against: Annotated[
        str, typer.Option(help="Server of the bus; by default that of the settings.", metavar="URL")
    ] = "",
    side: Annotated[Side, typer.Option(help="What to judge.")] = Side.RUNNER,
    key: Annotated[
        Path | None,
        typer.Option(
            help="Key set to sign with: a worker's for the Runner, a Runner's for the scheduler.",
            metavar="FILE",
        ),
    ] = None,
    document: Annotated[
        Path | None,
        typer.Option(
            help="Runner: execute document of a call to examples/conformance.", metavar="FILE"
        ),
    ] = None,
    pool: Annotated[str, typer.Option(help="Runner: its pool; empty for the default one.")] = "",
    install: Annotated[
        str, typer.Option(help="Scheduler: install to act for.", metavar="UUID")
    ] = "",
    endpoint: Annotated[
        str, typer.Option(help="Scheduler: an endpoint of the install.", metavar="SELECTOR")
    ] = "POST /call",
    directory: Annotated[
        Path | None,
        typer.Option("--vectors", help="Only write the vectors there, as JSON.", metavar="DIR"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Hold a Runner or a scheduler service in any language against the contract.

    Exits with 1 on a violation.

    \b
    Examples:
      ext-scheduler conformance --against nats://127.0.0.1:4222 --key worker.json
      ext-scheduler conformance --side scheduler --key runner.json --install UUID
      ext-scheduler conformance --vectors tests/vectors
    """
    if directory is not None:
        for file in vectors.write(directory):
            print_line(str(file))
        return
    chosen = settings.load(os.environ)
    if against:
        chosen = structs.replace(chosen, nats_url=against)
    if side is Side.RUNNER:
        script = _judge_runner(key or Path(chosen.runner_key_file), document, pool)
    else:
        script = _judge_scheduler(key or Path(chosen.host_key_file), install, endpoint)
    results = run(_judge(chosen, script, as_json=as_json))
    if as_json:
        print_json(results)
    failed = [result for result in results if not result.passed]
    if failed:
        raise CommandError(f"{len(failed)} of {len(results)} cases failed")


def _judge_runner(key: Path, document: Path | None, pool: str) -> Script:
    signer, foreign = _keys(key, RUNNER_AUDIENCE)
    template, subject = _document(document), _subject(pool)

    def script(client: Client) -> AsyncIterator[CaseResult]:
        peer = RunnerPeer(
            client=client, subject=subject, key=signer, foreign=foreign, document=template
        )
        return run_cases("runner", execute_cases(peer), peer)

    return script


def _judge_scheduler(key: Path, install: str, endpoint: str) -> Script:
    signer, foreign = _keys(key, HOST_AUDIENCE)
    try:
        install_id = UUID(install)
    except ValueError:
        raise CommandError(f"--install {install!r}: not a UUID", EXIT_USAGE) from None

    def script(client: Client) -> AsyncIterator[CaseResult]:
        peer = SchedulerPeer(
            client=client, key=signer, foreign=foreign, install_id=install_id, endpoint=endpoint
        )
        return run_cases("scheduler", host_cases(peer), peer)

    return script


async def _judge(chosen: Settings, script: Script, *, as_json: bool) -> list[CaseResult]:
    login = structs.replace(
        bus_settings(chosen, "ext-scheduler conformance"), connect_timeout=CONNECT_TIMEOUT_S
    )
    results: list[CaseResult] = []
    try:
        bus = await connect(login)
    except BusUnavailableError as unavailable:
        raise CommandError(str(unavailable), EXIT_UNAVAILABLE) from None
    try:
        async with progress(lambda: f"judging, {len(results)} cases done"):
            async for result in script(bus.client):
                results.append(result)
                if not as_json:
                    _print_result(result)
    except NothingAnswersError as error:
        raise CommandError(str(error), EXIT_UNAVAILABLE) from None
    finally:
        await bus.close()
    return results


def _print_result(result: CaseResult) -> None:
    if result.passed:
        print_line(f"ok      {result.case}")
    else:
        print_line(f"failed  {result.case}: {cell(result.fault)}")


def _keys(file: Path, audience: str) -> tuple[Key, Key]:
    """Return the key to sign with, and one that no verifier knows."""
    try:
        key = signing_key(parse_key_set(files.read(file)), audience)
    except InvalidKeySet as error:
        raise CommandError(f"{file}: {error}", EXIT_USAGE) from None
    return key, foreign_key(key)


def _document(file: Path | None) -> dict[str, object]:
    try:
        own = (
            execute_document()
            if file is None
            else decode(files.read(file), ExecuteRequest, Encoding.JSON)
        )
    except MalformedBody as error:
        raise CommandError(f"{file}: not an execute document: {error}", EXIT_USAGE) from None
    document: dict[str, object] = msgspec.to_builtins(own)
    return document


def _subject(pool: str) -> str:
    try:
        return execute_subject(pool or None)
    except ValueError as error:
        raise CommandError(f"--pool: {error}", EXIT_USAGE) from None

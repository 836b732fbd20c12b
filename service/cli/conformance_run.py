"""The cases of ``conformance``, run over the bus."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from uuid import UUID

import msgspec
from msgspec import structs
from nats.aio.client import Client

from contracts.context import InvalidKeySet, Key, parse_key_set, signing_key
from contracts.encoding import Encoding, MalformedBody, decode
from contracts.execution import ExecuteRequest
from contracts.subjects import HOST_AUDIENCE, RUNNER_AUDIENCE, execute_subject
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
from service.cli.output import cell, print_line, progress
from service.runtime.bus_settings import bus_settings
from service.runtime.settings import Settings

CONNECT_TIMEOUT_S = 3.0
Script = Callable[[Client], AsyncIterator[CaseResult]]


def runner_script(key: Path, document: Path | None, pool: str) -> Script:
    """Return the cases of a Runner. Raises CommandError."""
    signer, foreign = _keys(key, RUNNER_AUDIENCE)
    template, subject = _document(document), _subject(pool)

    def script(client: Client) -> AsyncIterator[CaseResult]:
        peer = RunnerPeer(
            client=client, subject=subject, key=signer, foreign=foreign, document=template
        )
        return run_cases("runner", execute_cases(peer), peer)

    return script


def scheduler_script(key: Path, install: str, endpoint: str) -> Script:
    """Return the cases of a scheduler service. Raises CommandError."""
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


async def judge(chosen: Settings, script: Script, *, as_json: bool) -> list[CaseResult]:
    """Run the cases, and print each result unless all are printed as JSON. Raises CommandError."""
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

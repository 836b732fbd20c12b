"""``conformance``: hold a Runner or a scheduler service on the bus against the contract."""

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from msgspec import structs

from service.cli.errors import CommandError
from service.cli.output import print_json, print_line
from service.runtime import settings


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
    # Imported here, with the bus and the cases: not for the help.
    from devstack.conformance import vectors  # noqa: PLC0415 - see above
    from service.cli import conformance_run as cases  # noqa: PLC0415 - likewise
    from service.cli.loop import run  # noqa: PLC0415 - likewise

    if directory is not None:
        for file in vectors.write(directory):
            print_line(str(file))
        return
    chosen = settings.load(os.environ)
    if against:
        chosen = structs.replace(chosen, nats_url=against)
    if side is Side.RUNNER:
        script = cases.runner_script(key or Path(chosen.runner_key_file), document, pool)
    else:
        script = cases.scheduler_script(key or Path(chosen.host_key_file), install, endpoint)
    results = run(cases.judge(chosen, script, as_json=as_json))
    if as_json:
        print_json(results)
    failed = [result for result in results if not result.passed]
    if failed:
        raise CommandError(f"{len(failed)} of {len(results)} cases failed")

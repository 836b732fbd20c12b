"""``dev-runner``, ``demo`` and ``new``; most need the libraries of the extra ``dev``.

These are imported when a command runs, so that the others work without them.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from devstack.errors import StackError
from devstack.new import Language, write_extension
from service.cli.errors import EXIT_USAGE, CommandError


def dev_runner(
    cache: Annotated[Path, typer.Option(help="Directory to cache compiled components in.")],
    key: Annotated[Path, typer.Option(help="Private key set to sign host calls with.")],
    components: Annotated[
        Path | None, typer.Option(help="Directory of <sha256>.wasm files.")
    ] = None,
    bundles: Annotated[
        Path | None, typer.Option(help="Directory of bundles (.tar.zst with dist/main.wasm).")
    ] = None,
    storage: Annotated[
        Path | None,
        typer.Option(help="File that keeps what extensions store; else it is in memory only."),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 for any free port.")] = 0,
    compile_limit: Annotated[
        float, typer.Option(min=1, help="Seconds that compiling a component may take.")
    ] = 120.0,
) -> None:
    """Run WebAssembly extensions for development: /v1/execute over HTTP, until SIGTERM.

    \b
    Examples:
      ext-scheduler dev-runner --components components --cache cache --key runner.json --port 8085
    """
    if components is None and bundles is None:
        raise CommandError("missing --components or --bundles", EXIT_USAGE)
    from service.cli.dev_runner import RunnerSettings, run  # noqa: PLC0415 - see above

    limits = RunnerSettings(
        components=components,
        bundles=bundles,
        storage=storage,
        cache=cache,
        host=host,
        port=port,
        compile_timeout_s=compile_limit,
    )
    run(limits, key)


def demo() -> None:
    """Demonstrate the whole system: an extension schedules itself and is called on time.

    Needs the extra `dev` only, takes about two minutes, and cleans up afterwards.

    \b
    Examples:
      ext-scheduler demo
    """
    from devstack.demo import run  # noqa: PLC0415 - see above

    run_stack_command(run)


def new(
    directory: Annotated[
        Path, typer.Argument(help="Directory to create; its name is the extension's.")
    ],
    language: Annotated[Language, typer.Option(help="What to write it in.")] = Language.PYTHON,
) -> None:
    """Write a small extension that works: manifest, source, tests, README.

    \b
    Examples:
      ext-scheduler new hello
      ext-scheduler new hello --language typescript
      ext-scheduler dev hello --watch
    """

    def write() -> None:
        for file in write_extension(directory, language):
            typer.echo(file)

    run_stack_command(write)


def run_stack_command(command: Callable[[], None]) -> None:
    """Run a command of the stack; its errors become those of the program."""
    try:
        command()
    except StackError as failure:
        raise CommandError(str(failure), failure.status) from None

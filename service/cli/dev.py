"""``dev``: runs the whole system with an extension, and works with it from another terminal."""

from pathlib import Path
from typing import Annotated

import typer

from service.cli.development import run_stack_command
from service.cli.lazy_group import WholeLinesGroup
from service.cli.log_lines import print_log_lines
from service.cli.output import print_line

START = "start"


class StartsByDefault(WholeLinesGroup):
    """A group whose arguments are those of ``start`` unless they begin with a command."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]  # Typer vendors the base of its context
        """Put ``start`` before anything that is neither a command nor a request for help."""
        if not args or (args[0] not in self.commands and args[0] != "--help"):
            args = [START, *args]
        return super().parse_args(ctx, args)


dev_program = typer.Typer(
    cls=StartsByDefault,
    rich_markup_mode=None,
    help="""Run the whole system with an extension on this machine.

`dev PATH` is `dev start PATH`.

\b
Examples:
  ext-scheduler dev                                 the sample extension
  ext-scheduler dev hello --watch                   an own one, installed again after each save
  ext-scheduler dev call POST /api/report '{"a": 1}'
  ext-scheduler dev fire report                     run the schedule now
""",
)


@dev_program.command()
def start(
    path: Annotated[
        Path | None,
        typer.Argument(help="Directory of an extension, or a .wasm file next to a manifest.json."),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Compile and install what changes.")
    ] = False,
    state: Annotated[
        Path | None,
        typer.Option(help="Directory that keeps database, ids, ports, schedules and storage."),
    ] = None,
    without: Annotated[
        str, typer.Option(help="Programs to leave to you, such as bridge,dev-runner.")
    ] = "",
    compile_limit: Annotated[
        float, typer.Option(min=1, help="Seconds that compiling may take.")
    ] = 300.0,
) -> None:
    """Run the system until Ctrl-C, by default with the sample extension.

    \b
    Examples:
      ext-scheduler dev          then run the commands it prints in another terminal
      ext-scheduler dev start    the same, in full
      ext-scheduler dev hello --watch
      ext-scheduler dev hello --state .dev       goes on where it was stopped or killed
      ext-scheduler dev hello --without bridge,dev-runner
    """
    from devstack.dev import run  # noqa: PLC0415 - needs the libraries of an extra

    programs = [name.strip() for name in without.split(",") if name.strip()]
    run_stack_command(
        lambda: run(
            path,
            watching=watch,
            without=programs,
            compile_timeout_s=compile_limit,
            directory=state,
        )
    )


@dev_program.command()
def call(
    method: Annotated[str, typer.Argument(help="GET, POST and so on.")],
    path: Annotated[str, typer.Argument(help="Path of the endpoint.")],
    body: Annotated[str | None, typer.Argument(help="Body, JSON.")] = None,
) -> None:
    """Call an endpoint of the running extension; print status and body.

    \b
    Examples:
      ext-scheduler dev call POST /api/report '{"month": 3}'
    """
    from devstack.dev_commands import call as run  # noqa: PLC0415 - see start

    run_stack_command(lambda: run(method, path, body))


@dev_program.command()
def fire(
    schedule: Annotated[str, typer.Argument(help="Name or id of a schedule.")],
) -> None:
    """Run a schedule of the running extension now; print its run and the answer.

    \b
    Examples:
      ext-scheduler dev fire report
    """
    from devstack.dev_commands import fire as run  # noqa: PLC0415 - see start

    run_stack_command(lambda: run(schedule))


@dev_program.command()
def logs(
    program: Annotated[str, typer.Argument(help="Program whose log to print.")] = "dev-runner",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the lines as they are written.")
    ] = False,
) -> None:
    """Print the newest log lines, by default of the Runner with those of the extension.

    \b
    Examples:
      ext-scheduler dev logs
      ext-scheduler dev logs worker
      ext-scheduler dev logs --json
    """
    from devstack.dev_commands import extension_names, log_lines  # noqa: PLC0415 - see start

    def show() -> None:
        lines = log_lines(program)
        if as_json:
            for line in lines:
                print_line(line)
        else:
            print_log_lines(lines, extension_names())

    run_stack_command(show)

"""``cells``: tenants on several databases, and the move of one from its cell to another."""

from pathlib import Path
from typing import Annotated

import typer

from service.cli.cells_file import beside, read_cells
from service.cli.lazy_group import WholeLinesGroup
from service.cli.loop import run
from service.cli.output import print_notice

FileOption = Annotated[Path, typer.Option("--file", help="The file that describes the cells.")]
DEFAULT_FILE = Path("cells.toml")

HELP = """Assign tenants to cells, each with its database, and move them (docs/cells.md).

\b
Examples:
  ext-scheduler cells nats              write the NATS configuration of all cells
  ext-scheduler cells move acme two     move a tenant to another cell
"""

cells_program = typer.Typer(
    cls=WholeLinesGroup, help=HELP, no_args_is_help=True, rich_markup_mode=None
)


@cells_program.command("nats")
def nats(file: FileOption = DEFAULT_FILE) -> None:
    """Write the NATS configuration of all cells, and have the servers read it.

    \b
    Examples:
      ext-scheduler cells nats
      ext-scheduler cells nats --file deploy/cells.toml
    """
    # Imported here, with the clients that it needs: not for the help.
    from service.cli.cells_publish import publish  # noqa: PLC0415 - see above

    publish(file)
    print_notice(f"written: {beside(file, read_cells(file).nats_conf)}")


@cells_program.command("move")
def move(
    tenant: Annotated[str, typer.Argument(help="The tenant's id.")],
    cell: Annotated[str, typer.Argument(help="The cell that it is to be in.")],
    file: FileOption = DEFAULT_FILE,
) -> None:
    """Move a tenant to a cell: pause, detach its Runners, copy its rows, attach them, resume.

    May be repeated after an interruption, and undone by naming the cell that it came from.

    \b
    Examples:
      ext-scheduler cells move acme two
      ext-scheduler cells move acme one         back again, also half way
    """
    from service.cli.cells_move import move_tenant  # noqa: PLC0415 - likewise

    run(move_tenant(file, tenant, cell))

"""``cells.toml``: the cells, and which of them each tenant is assigned to."""

import re
import tomllib
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from contracts.strict_json import strip_bom
from contracts.subjects import RUNNER_POOL_PATTERN
from service.cli import files
from service.cli.errors import EXIT_USAGE, CommandError

CellName = Annotated[str, Meta(pattern=RUNNER_POOL_PATTERN)]
ARROW = " -> "
_SECTION = r'(?ms)^(\[tenants\.(?:"{tenant}"|{tenant})\][^\n]*\n(?:(?!\[).)*?^cell\s*=\s*)"[^"\n]*"'


class Cell(Struct, frozen=True, forbid_unknown_fields=True):
    """A database with its NATS account, its workers and its responders; their settings file."""

    settings: str


class AssignedTenant(Struct, frozen=True, forbid_unknown_fields=True):
    """``cell`` is a cell's name, or ``one -> two`` while a tenant moves.

    ``runners`` names the account of its Runners, and the pool that it is in.
    """

    cell: str
    runners: CellName

    @property
    def home(self) -> str:
        """Return the cell that has the tenant's rows, or had them when it began to move."""
        return self.cell.partition(ARROW)[0]

    @property
    def moving_to(self) -> str:
        """Return the cell that the tenant moves to, empty where it does not move."""
        return self.cell.partition(ARROW)[2]


class CellsFile(Struct, frozen=True, forbid_unknown_fields=True):
    """What ``cells.toml`` holds; files are relative to it.

    ``nats_base`` is the ``nats.conf`` that ``nats_conf`` is derived from; ``reload`` is the command
    that has the servers read it, and ``monitoring`` their monitoring addresses, at which they state
    what they have read. Every tenant has Runners of its own.
    """

    nats_base: str
    nats_conf: str
    reload: tuple[str, ...]
    monitoring: tuple[str, ...]
    cells: dict[CellName, Cell]
    tenants: dict[str, AssignedTenant] = {}


def read_cells(file: Path) -> CellsFile:
    """Read and check ``cells.toml``. Raises CommandError."""
    try:
        cells = msgspec.convert(tomllib.loads(strip_bom(files.read(file)).decode()), CellsFile)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise CommandError(f"{file}: {error}", EXIT_USAGE) from None
    for tenant_id, tenant in cells.tenants.items():
        for cell in tenant.cell.split(ARROW):
            if cell not in cells.cells:
                raise CommandError(f"{file}: tenant {tenant_id}: no cell {cell!r}", EXIT_USAGE)
    accounts = [tenant.runners for tenant in cells.tenants.values()]
    if len(accounts) != len(set(accounts)):
        raise CommandError(f"{file}: two tenants share the account of their Runners", EXIT_USAGE)
    return cells


def assign(file: Path, tenant_id: str, cell: str) -> None:
    """Write the cell of a tenant into ``cells.toml``, and leave the rest as people wrote it."""
    text = files.read(file).decode()
    section = re.compile(_SECTION.replace("{tenant}", re.escape(tenant_id)))
    changed, count = section.subn(lambda match: f'{match[1]}"{cell}"', text, count=1)
    if not count:
        raise CommandError(f"{file}: no section [tenants.{tenant_id}] with its cell", EXIT_USAGE)
    files.write(file, changed.encode(), files.PUBLIC)


def beside(file: Path, name: str) -> Path:
    """Return the path of a file that ``file`` names: relative to its own directory."""
    return file.parent / name

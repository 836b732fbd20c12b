"""What a command of ``admin`` is: its name, arguments, examples and table."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from inspect import Parameter
from typing import Any

from msgspec import Struct

from service.cli.admin.client import AdminClient

CommandAction = Callable[[AdminClient, Mapping[str, Any]], Awaitable[None]]
"""What a command does that is more than one call and its output; called with the arguments."""

NO_FIELDS: Mapping[str, Any] = {}


class CommandSpec(Struct, frozen=True, kw_only=True):
    """Describes one command.

    ``positional`` names optional fields that are positional arguments; ``fixed`` holds wire fields
    that the command itself sets; ``columns`` are those of its table, all where empty;
    ``hidden`` are values of the output that only ``--json`` prints;
    ``confirmation`` is a question that may name fields in braces; ``own_parameters`` replace those
    built from the operation's input.
    """

    op: str
    name: str
    summary: str
    examples: Sequence[str] = ()
    positional: Sequence[str] = ()
    fixed: Mapping[str, Any] = NO_FIELDS
    columns: Sequence[str] = ()
    hidden: Sequence[str] = ()
    confirmation: str = ""
    hint: str = ""
    done: str = "done"
    own_parameters: Sequence[Parameter] | None = None
    extra_parameters: Sequence[Parameter] = ()
    action: CommandAction | None = None

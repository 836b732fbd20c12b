"""Options and arguments of a command, built from the fields of an operation's input.

Required fields become arguments, optional ones options; a JSON value is typed, or read from
``@file``. An optional tenant has no option here: every command has ``--tenant``.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from inspect import Parameter
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

import typer
from msgspec import NODEFAULT, Struct
from msgspec import inspect as types

from contracts.admin import ADMIN_OPS
from service.cli import files
from service.cli.admin.completion import COMPLETIONS
from service.cli.admin.field_help import field_help

PAGING_FIELDS = frozenset({"limit", "cursor"})
CLEAR_PREFIX = "clear_"

COMMON_OPTIONS: Sequence[tuple[str, Any, Any]] = (
    (
        "tenant",
        Annotated[
            str,
            typer.Option(
                help="Tenant to act for; '*' for all.", autocompletion=COMPLETIONS["tenantId"]
            ),
        ],
        "",
    ),
    (
        "key",
        Annotated[
            Path | None, typer.Option(help="Private key set (setting admin_key_file).", metavar="F")
        ],
        None,
    ),
    (
        "subject",
        Annotated[
            str, typer.Option("--as", help="Your name in the audit log; the login name by default.")
        ],
        "",
    ),
    (
        "permission",
        Annotated[list[str], typer.Option(help="Permission to claim; repeatable.")],
        [],
    ),
    (
        "timeout",
        Annotated[int, typer.Option(help="Seconds to wait for the service.", min=1, max=3600)],
        None,
    ),
    (
        "request_id",
        Annotated[
            UUID | None,
            typer.Option(help="Repeat the request with this id; it is executed once at most."),
        ],
        None,
    ),
    ("as_json", Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")], False),
)

TIME_OPTIONS: Sequence[tuple[str, Any, Any]] = (
    ("utc", Annotated[bool, typer.Option(help="Show times in UTC on a terminal, too.")], False),
    (
        "zone",
        Annotated[str, typer.Option("--timezone", help="Show times in this zone.", metavar="Z")],
        "",
    ),
)
"""How tables show times; the zone of this machine on a terminal, else UTC."""

PAGING_OPTIONS: Sequence[tuple[str, Any, Any]] = (
    ("limit", Annotated[int, typer.Option(help="Maximum number of rows.", min=1)], 50),
    ("everything", Annotated[bool, typer.Option("--all", help="Show all rows.")], False),
    ("cursor", Annotated[str, typer.Option(help="Continue after the nextCursor of --json.")], ""),
)


def build_parameters(declarations: Iterable[tuple[str, Any, Any]]) -> list[Parameter]:
    """Build parameters from (name, annotation, default); the default ``...`` means required."""
    return [
        _parameter(name, annotation, Parameter.empty if default is ... else default)
        for name, annotation, default in declarations
    ]


def input_fields(input_type: type[Struct]) -> list[types.Field]:
    """Return the fields of an operation's input."""
    info = types.type_info(input_type)
    assert isinstance(info, types.StructType)  # noqa: S101 - a Struct has no other type info
    return list(info.fields)


def input_parameters(
    op: str, fixed: Collection[str], positional: Collection[str]
) -> list[Parameter]:
    """Return the parameters for an operation's input, without ``fixed`` fields.

    Required fields and those in ``positional`` become arguments, the others options.
    """
    parameters: list[Parameter] = []
    for field in input_fields(ADMIN_OPS[op].input):
        optional_tenant = field.encode_name == "tenantId" and not field.required
        if field.encode_name in fixed or field.name in PAGING_FIELDS or optional_tenant:
            continue
        argument = field.required or field.name in positional
        help_ = field_help(op, field.encode_name)
        parameters.extend(_parameters(field, help_, argument=argument))
    # Typer takes arguments in this order.
    return sorted(parameters, key=lambda parameter: parameter.default is not Parameter.empty)


def read_fields(input_type: type[Struct], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the wire fields that were given. Raises CommandError where one is not valid JSON."""
    fields: dict[str, Any] = {}
    for field in input_fields(input_type):
        value = arguments.get(field.name)
        if field.name in PAGING_FIELDS:
            continue
        if arguments.get(CLEAR_PREFIX + field.name):
            fields[field.encode_name] = None
        elif value is not None and value != [] and value is not False:
            fields[field.encode_name] = _value(field, value)
        elif value is False and (field.required or field.default is not False):
            fields[field.encode_name] = False
    return fields


def _parameters(field: types.Field, help_: str, *, argument: bool) -> Iterable[Parameter]:
    annotation = _annotation(_kinds(field.type))
    if argument:
        name = field.encode_name.removesuffix("Id").upper()
        declared = typer.Argument(
            help=help_,
            metavar=name,
            show_default=False,
            autocompletion=COMPLETIONS.get(field.encode_name),
        )
        accepted = annotation if field.required else annotation | None
        default = Parameter.empty if field.required else None
        yield _parameter(field.name, Annotated[accepted, declared], default)
        return
    flag = field.name.strip("_").replace("_", "-")
    yield _option(field, flag, annotation, help_)
    nullable = any(isinstance(kind, types.NoneType) for kind in _kinds(field.type))
    # Where an absent field keeps its value, null needs an option of its own.
    if nullable and field.default is NODEFAULT:
        cleared = typer.Option(f"--clear-{flag}", help=f"Remove the {field.encode_name}.")
        yield _parameter(CLEAR_PREFIX + field.name, Annotated[bool, cleared], False)


def _option(field: types.Field, flag: str, annotation: Any, help_: str) -> Parameter:  # noqa: ANN401 - a type
    if annotation is bool and field.default is False:
        return _parameter(field.name, Annotated[bool, typer.Option(f"--{flag}", help=help_)], False)
    if annotation is bool:
        switch = typer.Option(f"--{flag}/--no-{flag}", help=help_)
        return _parameter(field.name, Annotated[bool | None, switch])
    option = typer.Option(
        f"--{flag}", help=help_, autocompletion=COMPLETIONS.get(field.encode_name)
    )
    if annotation == list[str]:
        return _parameter(field.name, Annotated[annotation, option], [])
    return _parameter(field.name, Annotated[annotation | None, option])


def _parameter(name: str, annotation: Any, default: Any = None) -> Parameter:  # noqa: ANN401 - a type and its value
    return Parameter(name, Parameter.KEYWORD_ONLY, annotation=annotation, default=default)


def _kinds(kind: types.Type) -> list[types.Type]:
    """Return the alternatives of a type, without metadata."""
    if isinstance(kind, types.Metadata):
        return _kinds(kind.type)
    if isinstance(kind, types.UnionType):
        return [inner for member in kind.types for inner in _kinds(member)]
    return [kind]


def _annotation(kinds: Sequence[types.Type]) -> Any:  # noqa: ANN401 - a type
    """Return the type of the command-line value; structured values are JSON text."""
    first = kinds[0]
    if isinstance(first, types.LiteralType):
        return Literal[tuple(map(str, first.values))]
    if isinstance(first, types.ListType) and isinstance(_kinds(first.item_type)[0], types.StrType):
        return list[str]
    return {types.BoolType: bool, types.IntType: int}.get(type(first), str)


def _value(field: types.Field, value: Any) -> Any:  # noqa: ANN401 - as typed, and as sent
    written_as_json = (types.DictType, types.StructType, types.AnyType)
    if isinstance(value, str) and isinstance(_kinds(field.type)[0], written_as_json):
        return files.parse_json(files.text_or_file(value), Any, f"{field.encode_name}: not JSON")
    return value

"""Options and arguments of a command, made from the fields of an operation's input.

Required fields become arguments, optional ones options; JSON values are typed or read from
``@file``. The tenant is no field here: ``--tenant`` says it for every command alike.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from inspect import Parameter
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

import typer
from msgspec import NODEFAULT, Struct
from msgspec import inspect as types

from service.cli import files

PAGING = frozenset({"limit", "cursor"})
CLEAR = "clear_"

HELP = {
    "installId": "Id of the install.",
    "scheduleId": "Id of the schedule.",
    "endpointId": "Id of the endpoint, in place of its path.",
    "endpoint": "'/path' or 'POST /path', as the version declares it.",
    "versionId": "Id of the version.",
    "version": "The version, such as 2.0.0.",
    "cron": "Five fields: minute hour day-of-month month day-of-week.",
    "timezone": "IANA name, such as Europe/Berlin; UTC by default.",
    "payload": "JSON object or array, or @FILE.",
    "name": "Name, unique within the install.",
    "enabled": "Whether it fires.",
    "failing": "Whether its last run failed.",
    "expectedRevision": "Refuse if the schedule was changed meanwhile.",
    "status": "Only runs with this status.",
    "since": "An age such as 90m, 12h or 7d, or an instant (RFC 3339).",
    "from": "Instant to begin at (RFC 3339); now by default.",
    "count": "How many slots.",
    "dryRun": "Say what would be done, and change nothing.",
    "disableMissingSchedules": "Disable schedules whose endpoint is missing, and go on.",
    "pgBossSchema": "Schema of the pg-boss that drives the schedules so far.",
    "tenantId": "The tenant.",
}
"""What a field means to a person; a field that is not here speaks for itself."""

COMMON: Sequence[tuple[str, Any, Any]] = (
    ("tenant", Annotated[str, typer.Option(help="Tenant acted for; '*' for all.")], ""),
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
            str, typer.Option("--as", help="Who you are, for the audit; the login name by default.")
        ],
        "",
    ),
    (
        "permission",
        Annotated[list[str], typer.Option(help="Permission to ask with; repeatable.")],
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
            UUID | None, typer.Option(help="Repeat the request of this id; never done twice.")
        ],
        None,
    ),
    ("as_json", Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")], False),
)

PAGES: Sequence[tuple[str, Any, Any]] = (
    ("limit", Annotated[int, typer.Option(help="Rows to show.", min=1)], 50),
    ("everything", Annotated[bool, typer.Option("--all", help="Show all rows.")], False),
    ("cursor", Annotated[str, typer.Option(help="Go on after the nextCursor of --json.")], ""),
)


def made(rows: Iterable[tuple[str, Any, Any]]) -> list[Parameter]:
    """Make options of (name, annotation, default); the default ``...`` means that it is needed."""
    return [
        _parameter(name, annotation, Parameter.empty if default is ... else default)
        for name, annotation, default in rows
    ]


def fields_of(shape: type[Struct]) -> list[types.Field]:
    """The fields of an input."""
    info = types.type_info(shape)
    assert isinstance(info, types.StructType)  # noqa: S101 - of a Struct there is no other
    return list(info.fields)


def parameters(
    shape: type[Struct], fixed: Collection[str], arguments: Collection[str]
) -> list[Parameter]:
    """The parameters for an input, without ``fixed`` fields; ``arguments`` are positional."""
    made_here: list[Parameter] = []
    for field in fields_of(shape):
        optional_tenant = field.encode_name == "tenantId" and not field.required
        if field.encode_name in fixed or field.name in PAGING or optional_tenant:
            continue
        made_here.extend(_parameters(field, argument=field.required or field.name in arguments))
    # Typer takes arguments in this order.
    return sorted(made_here, key=lambda parameter: parameter.default is not Parameter.empty)


def values(shape: type[Struct], given: Mapping[str, Any]) -> dict[str, Any]:
    """Read the wire fields that a person gave. Raises CommandError where one is no JSON."""
    read: dict[str, Any] = {}
    for field in fields_of(shape):
        value = given.get(field.name)
        if field.name in PAGING:
            continue
        if given.get(CLEAR + field.name):
            read[field.encode_name] = None
        elif value is not None and value != [] and value is not False:
            read[field.encode_name] = _value(field, value)
        elif value is False and (field.required or field.default is not False):
            read[field.encode_name] = False
    return read


def _parameters(field: types.Field, *, argument: bool) -> Iterable[Parameter]:
    help_ = HELP.get(field.encode_name, "")
    annotation = _annotation(_kinds(field.type))
    if argument:
        name = field.encode_name.removesuffix("Id").upper()
        declared = typer.Argument(help=help_, metavar=name, show_default=False)
        needed = annotation if field.required else annotation | None
        default = Parameter.empty if field.required else None
        yield _parameter(field.name, Annotated[needed, declared], default)
        return
    flag = field.name.strip("_").replace("_", "-")
    yield _option(field, flag, annotation, help_)
    nullable = any(isinstance(kind, types.NoneType) for kind in _kinds(field.type))
    # Where absence is no default but means "as it is", null is something that can be said.
    if nullable and field.default is NODEFAULT:
        cleared = typer.Option(f"--clear-{flag}", help=f"Take the {field.encode_name} away.")
        yield _parameter(CLEAR + field.name, Annotated[bool, cleared], False)


def _option(field: types.Field, flag: str, annotation: Any, help_: str) -> Parameter:  # noqa: ANN401 - a type
    if annotation is bool and field.default is False:
        return _parameter(field.name, Annotated[bool, typer.Option(f"--{flag}", help=help_)], False)
    if annotation is bool:
        switch = typer.Option(f"--{flag}/--no-{flag}", help=help_)
        return _parameter(field.name, Annotated[bool | None, switch])
    option = typer.Option(f"--{flag}", help=help_)
    if annotation == list[str]:
        return _parameter(field.name, Annotated[annotation, option], [])
    return _parameter(field.name, Annotated[annotation | None, option])


def _parameter(name: str, annotation: Any, default: Any = None) -> Parameter:  # noqa: ANN401 - a type and its value
    return Parameter(name, Parameter.KEYWORD_ONLY, annotation=annotation, default=default)


def _kinds(kind: types.Type) -> list[types.Type]:
    """The alternatives of a type, without their notes."""
    if isinstance(kind, types.Metadata):
        return _kinds(kind.type)
    if isinstance(kind, types.UnionType):
        return [inner for each in kind.types for inner in _kinds(each)]
    return [kind]


def _annotation(kinds: Sequence[types.Type]) -> Any:  # noqa: ANN401 - a type
    """What a person types for it; what is neither word, number nor switch is JSON text."""
    first = kinds[0]
    if isinstance(first, types.LiteralType):
        return Literal[tuple(map(str, first.values))]
    if isinstance(first, types.ListType) and isinstance(first.item_type, types.StrType):
        return list[str]
    return {types.BoolType: bool, types.IntType: int}.get(type(first), str)


def _value(field: types.Field, value: Any) -> Any:  # noqa: ANN401 - as typed, and as sent
    written_as_json = (types.DictType, types.StructType, types.AnyType)
    if isinstance(value, str) and isinstance(_kinds(field.type)[0], written_as_json):
        return files.parse_json(files.text_or_file(value), Any, f"{field.encode_name}: not JSON")
    return value

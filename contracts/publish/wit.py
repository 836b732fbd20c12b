"""The interface ``scheduler`` that extensions are compiled against, made from the host operations.

Names and the order of fields are part of the binary contract, so which fields a record has is
written down here; their types come from the contract. Members without a WIT type of their own,
such as payloads, travel as JSON text.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType, NoneType
from typing import Any, get_args, get_origin, get_type_hints

from msgspec import Struct, UnsetType

from contracts import schedules
from contracts.errors import Code
from contracts.schedules import HOST_OPS, Operation

PACKAGE = "alga:extension"
ERROR = "scheduler-error"
ERRORS = (
    Code.NOT_FOUND,
    Code.VALIDATION_FAILED,
    Code.QUOTA_EXCEEDED,
    Code.DENIED,
    Code.INTERNAL,
)
"""What a read may fail with; a change tells of its failure in its result."""

JSON_TEXT = "JSON text."
_DOCS = {
    "payload": JSON_TEXT,
    "field_errors": "JSON text: an object of field name to message.",
}
_CLEARED = "JSON text; an empty text clears the payload."


class Field(Struct, frozen=True):
    """A field or parameter: kebab-case name, WIT type, and a doc comment or nothing."""

    name: str
    type: str
    doc: str = ""


class Function(Struct, frozen=True):
    """A function of the interface; ``fails`` with the enum ``ERROR``."""

    name: str
    parameters: Sequence[Field]
    answer: str
    fails: bool


class _Shape(Struct, frozen=True):
    type: type[Struct]
    fields: tuple[str, ...]
    loose: frozenset[str] = frozenset()
    """Fields that are options here although the contract always has them."""


_INPUT = ("endpoint", "cron", "timezone", "enabled", "name", "payload")
_RECORDS: Mapping[str, _Shape] = MappingProxyType(
    {
        "schedule-info": _Shape(
            schedules.ScheduleInfo,
            (
                "id",
                "endpoint_path",
                "endpoint_method",
                "name",
                "cron",
                "timezone",
                "enabled",
                "payload",
                "last_run_at",
                "last_run_status",
                "last_error",
                "created_at",
            ),
            loose=frozenset({"created_at"}),
        ),
        "endpoint-info": _Shape(
            schedules.EndpointInfo, ("id", "method", "path", "handler", "schedulable")
        ),
        "create-schedule-input": _Shape(schedules.CreateInput, _INPUT),
        "create-schedule-result": _Shape(
            schedules.CreateOutput, ("success", "schedule_id", "error", "field_errors")
        ),
        "update-schedule-input": _Shape(schedules.UpdateInput, _INPUT),
        "update-schedule-result": _Shape(
            schedules.UpdateOutput, ("success", "error", "field_errors")
        ),
        "delete-schedule-result": _Shape(schedules.DeleteOutput, ("success", "error")),
    }
)
_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "list": "list-schedules",
        "get": "get-schedule",
        "create": "create-schedule",
        "update": "update-schedule",
        "delete": "delete-schedule",
        "getEndpoints": "get-endpoints",
    }
)
_OF_TYPE = {shape.type: name for name, shape in _RECORDS.items()}


def errors() -> list[str]:
    """Give the cases of the error enum, in order."""
    return [code.value.lower().replace("_", "-") for code in ERRORS]


def records() -> dict[str, list[Field]]:
    """Give the fields of every record."""
    return {name: _fields(shape) for name, shape in _RECORDS.items()}


def functions() -> list[Function]:
    """Give the function of every host operation."""
    return [_function(op, row) for op, row in HOST_OPS.items()]


def scheduler_package() -> str:
    """Write the package with its types, the interface, and a world that imports it."""
    return "\n".join(
        [
            "/// Made by `ext-scheduler asyncapi --as wit`: scheduling, out of the package.",
            f"package {PACKAGE};",
            "",
            "interface types {",
            "\n\n".join([error_enum(), *(record(*each) for each in records().items())]),
            "}",
            "",
            "interface scheduler {",
            f"    use types.{{{', '.join(sorted([ERROR, *_RECORDS]))}}};",
            "",
            *(signature(function) for function in functions()),
            "}",
            "",
            "world scheduled {",
            "    import scheduler;",
            "}",
            "",
        ]
    )


def error_enum() -> str:
    """Write the error enum."""
    cases = "".join(f"        {case},\n" for case in errors())
    return f"    enum {ERROR} {{\n{cases}    }}"


def record(name: str, fields: Sequence[Field]) -> str:
    """Write a record."""
    lines = [f"    record {name} {{"]
    for field in fields:
        lines += [f"        /// {field.doc}"] * bool(field.doc)
        lines.append(f"        {field.name}: {field.type},")
    return "\n".join([*lines, "    }"])


def signature(function: Function) -> str:
    """Write a function."""
    parameters = ", ".join(f"{each.name}: {each.type}" for each in function.parameters)
    answer = f"result<{function.answer}, {ERROR}>" if function.fails else function.answer
    return f"    {function.name}: func({parameters}) -> {answer};"


def _function(op: str, row: Operation) -> Function:
    taken = get_type_hints(row.input)
    parameters = []
    if "schedule_id" in taken:
        parameters.append(Field("schedule-id", _wit(taken["schedule_id"])))
    if row.input in _OF_TYPE:
        parameters.append(Field("input", _OF_TYPE[row.input]))
    if row.mutates:
        answer = _OF_TYPE[row.output]
    else:
        [member] = get_type_hints(row.output).values()
        answer = _wit(member)
    return Function(_NAMES[op], parameters, answer, fails=not row.mutates)


def _fields(shape: _Shape) -> list[Field]:
    hints = get_type_hints(shape.type)
    fields = []
    for name in shape.fields:
        written = _wit(hints[name])
        if name in shape.loose:
            written = f"option<{written}>"
        cleared = name == "payload" and shape.type is schedules.UpdateInput
        doc = _CLEARED if cleared else _DOCS.get(name, "")
        fields.append(Field(name.replace("_", "-"), written, doc))
    return fields


def _wit(annotation: Any) -> str:  # noqa: ANN401 - an annotation may be anything
    """Write a type: text, flag, record, list of records; whatever else is JSON, is text."""
    members = get_args(annotation)
    if NoneType in members or UnsetType in members:
        [first, *_] = [each for each in members if each not in {NoneType, UnsetType}]
        return f"option<{_wit(first)}>"
    if get_origin(annotation) is list and members[0] in _OF_TYPE:
        return f"list<{_wit(members[0])}>"
    return "bool" if annotation is bool else _OF_TYPE.get(annotation, "string")

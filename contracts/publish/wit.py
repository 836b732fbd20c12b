"""The interface ``scheduler`` that extensions are compiled against, made from the host operations.

Names and the order of fields are part of the binary contract, so which fields a record has is
written down here; their types come from the contract. Members without a WIT type of their own,
such as payloads, travel as JSON text.
"""

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import or_
from types import MappingProxyType, NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

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
"""What a read may fail with; a change reports its failure in its result."""

JSON_TEXT = "JSON text."
_DOCS = {
    "payload": JSON_TEXT,
    "field_errors": "JSON text: an object of field name to message.",
}
_CLEARED = "JSON text; the text `null` clears the payload."


class Field(Struct, frozen=True):
    """A field or parameter: kebab-case name, WIT type, and a doc comment or nothing."""

    name: str
    type: str
    doc: str = ""


class Function(Struct, frozen=True):
    """A function of the interface; ``fails`` with the enum ``ERROR``."""

    name: str
    parameters: Sequence[Field]
    result: str
    fails: bool


class UnknownType(TypeError):
    """A type of the contract that has no counterpart; the message names the type and its member."""


class _RecordSpec(Struct, frozen=True):
    type: type[Struct]
    fields: tuple[str, ...]
    loose: frozenset[str] = frozenset()
    """Fields that are options here although the contract always has them."""


_INPUT = ("endpoint", "cron", "timezone", "enabled", "name", "payload")
_RECORDS: Mapping[str, _RecordSpec] = MappingProxyType(
    {
        "schedule-info": _RecordSpec(
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
        "endpoint-info": _RecordSpec(
            schedules.EndpointInfo, ("id", "method", "path", "handler", "schedulable")
        ),
        "create-schedule-input": _RecordSpec(schedules.CreateInput, _INPUT),
        "create-schedule-result": _RecordSpec(
            schedules.CreateOutput, ("success", "schedule_id", "error", "field_errors")
        ),
        "update-schedule-input": _RecordSpec(schedules.UpdateInput, _INPUT),
        "update-schedule-result": _RecordSpec(
            schedules.UpdateOutput, ("success", "error", "field_errors")
        ),
        "delete-schedule-result": _RecordSpec(schedules.DeleteOutput, ("success", "error")),
    }
)
FUNCTION_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "list": "list-schedules",
        "get": "get-schedule",
        "create": "create-schedule",
        "update": "update-schedule",
        "delete": "delete-schedule",
        "getEndpoints": "get-endpoints",
    }
)
"""Host operation → its function in the interface."""
_RECORD_NAMES = {spec.type: name for name, spec in _RECORDS.items()}
_JSON_CONTAINERS = (dict[str, Any], list[Any], dict[str, str])
_SCALARS: Mapping[Any, str] = MappingProxyType({bool: "bool", str: "string"})


def error_names() -> list[str]:
    """Return the cases of the error enum, in order."""
    return [code.value.lower().replace("_", "-") for code in ERRORS]


def records() -> dict[str, list[Field]]:
    """Return the fields of every record.

    Raises:
        UnknownType: a field has no WIT type.
    """
    return {name: _fields(spec) for name, spec in _RECORDS.items()}


def functions() -> list[Function]:
    """Return the function of every host operation.

    Raises:
        UnknownType: a parameter or result has no WIT type.
        LookupError: an operation has no function name.
    """
    return [function_of(op, operation) for op, operation in HOST_OPS.items()]


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
    cases = "".join(f"        {case},\n" for case in error_names())
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
    parameters = ", ".join(f"{field.name}: {field.type}" for field in function.parameters)
    result = f"result<{function.result}, {ERROR}>" if function.fails else function.result
    return f"    {function.name}: func({parameters}) -> {result};"


def wit_type(annotation: Any, member: str) -> str:  # noqa: ANN401 - an annotation may be anything
    """Write the type of ``member``: text, flag, record, list of records, or JSON as text.

    Raises:
        UnknownType: none of these; the message names ``member``.
    """
    alternatives = [kind for kind in get_args(annotation) if kind not in {NoneType, UnsetType}]
    if _is_union(annotation) and len(alternatives) < len(get_args(annotation)):
        return f"option<{wit_type(reduce(or_, alternatives), member)}>"
    if annotation in _SCALARS:
        return _SCALARS[annotation]
    if annotation in _RECORD_NAMES:
        return _RECORD_NAMES[annotation]
    if get_origin(annotation) is list and alternatives[0] in _RECORD_NAMES:
        return f"list<{_RECORD_NAMES[alternatives[0]]}>"
    if _is_json(annotation):
        return "string"
    raise UnknownType(f"{member}: {annotation} has no WIT type; see wit_type in {__name__}")


def _is_union(annotation: Any) -> bool:  # noqa: ANN401 - likewise
    return get_origin(annotation) in {Union, UnionType}


def _is_json(annotation: Any) -> bool:  # noqa: ANN401 - likewise
    kinds = get_args(annotation) if _is_union(annotation) else (annotation,)
    return all(kind in _JSON_CONTAINERS for kind in kinds)


def function_of(op: str, operation: Operation) -> Function:
    """Return the function of a host operation.

    Raises:
        UnknownType: a parameter or the result has no WIT type.
        LookupError: the operation has no function name.
    """
    if op not in FUNCTION_NAMES:
        raise LookupError(f"host operation {op!r} has no name in FUNCTION_NAMES of {__name__}")
    inputs = get_type_hints(operation.input)
    parameters = []
    if "schedule_id" in inputs:
        member = f"{operation.input.__name__}.schedule_id"
        parameters.append(Field("schedule-id", wit_type(inputs["schedule_id"], member)))
    if operation.input in _RECORD_NAMES:
        parameters.append(Field("input", _RECORD_NAMES[operation.input]))
    result = _result_type(operation)
    return Function(FUNCTION_NAMES[op], parameters, result, fails=not operation.mutates)


def _result_type(operation: Operation) -> str:
    output = operation.output
    if operation.mutates:
        if output not in _RECORD_NAMES:
            raise UnknownType(f"{output.__name__} has no record; see _RECORDS in {__name__}")
        return _RECORD_NAMES[output]
    members = get_type_hints(output)
    if len(members) != 1:
        raise UnknownType(f"{output.__name__} has {len(members)} members; a read returns one")
    [(name, annotation)] = members.items()
    return wit_type(annotation, f"{output.__name__}.{name}")


def _fields(spec: _RecordSpec) -> list[Field]:
    hints = get_type_hints(spec.type)
    fields = []
    for name in spec.fields:
        written = wit_type(hints[name], f"{spec.type.__name__}.{name}")
        if name in spec.loose:
            written = f"option<{written}>"
        cleared = name == "payload" and spec.type is schedules.UpdateInput
        doc = _CLEARED if cleared else _DOCS.get(name, "")
        fields.append(Field(name.replace("_", "-"), written, doc))
    return fields

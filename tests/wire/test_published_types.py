"""The generators of WIT and TypeScript refuse a type that they do not know."""

from datetime import datetime
from typing import Any

import pytest
from msgspec import Struct, UnsetType

from contracts.publish import typescript, typescript_extension, wit
from contracts.publish.schemas import refusals
from contracts.schedules import HOST_OPS, ListInput, Operation, Payload, ScheduleInfo


class UnknownOutput(Struct, frozen=True):
    """A result of a type that no interface has."""

    member: complex


class PairOutput(Struct, frozen=True):
    """More than one member, which a read of the interface cannot return."""

    first: str
    second: str


@pytest.mark.parametrize(
    ("annotation", "written"),
    [
        (str, "string"),
        (bool, "bool"),
        (str | None, "option<string>"),
        (bool | UnsetType, "option<bool>"),
        (str | UnsetType | None, "option<string>"),
        (Payload, "string"),
        (Payload | None, "option<string>"),
        (dict[str, str] | None, "option<string>"),
        (ScheduleInfo, "schedule-info"),
        (ScheduleInfo | None, "option<schedule-info>"),
        (list[ScheduleInfo], "list<schedule-info>"),
    ],
)
def test_a_known_type_has_one_spelling_in_wit(annotation: Any, written: str) -> None:
    assert wit.wit_type(annotation, "Some.member") == written


@pytest.mark.parametrize(
    "annotation",
    [complex, float, bytes, datetime, bytes | None, list[str], list[float], bytes | str, object],
)
def test_wit_refuses_an_unknown_type_and_names_the_member(annotation: Any) -> None:
    with pytest.raises(wit.UnknownType, match=r"^Some\.member: .* has no WIT type"):
        wit.wit_type(annotation, "Some.member")


def test_wit_names_the_operation_without_a_function_name() -> None:
    row = Operation(ListInput, UnknownOutput, mutates=False)
    with pytest.raises(LookupError, match="'planted' has no name in FUNCTION_NAMES"):
        wit.function_of("planted", row)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            Operation(ListInput, UnknownOutput, mutates=False),
            r"UnknownOutput\.member: <class 'complex'>",
        ),
        (Operation(ListInput, PairOutput, mutates=False), "PairOutput has 2 members"),
        (Operation(ListInput, UnknownOutput, mutates=True), "UnknownOutput has no record"),
    ],
)
def test_wit_refuses_a_result_that_it_cannot_spell(row: Operation, message: str) -> None:
    with pytest.raises(wit.UnknownType, match=message):
        wit.function_of("list", row)


def test_wit_has_a_function_for_every_host_operation() -> None:
    assert len(wit.functions()) == len(HOST_OPS)


@pytest.mark.parametrize("text", ["flags", "list<char>", "result<string>", "tuple<string>"])
def test_typescript_refuses_an_unknown_wit_type_and_names_the_member(text: str) -> None:
    with pytest.raises(wit.UnknownType, match=r"^some-record\.field: .* has no TypeScript type"):
        typescript_extension.from_wit(text, "some-record.field")


@pytest.mark.parametrize(
    "schema",
    [{"type": "vector"}, {"type": ["string", "null"]}, {"allOf": []}, {"not": {}}, {"oneOf": []}],
)
def test_typescript_refuses_an_unknown_schema_and_names_the_member(schema: dict[str, Any]) -> None:
    with pytest.raises(wit.UnknownType, match=r"^Info\.member: .* has no TypeScript type"):
        typescript.from_schema({"type": "array", "items": schema}, "Info.member")


def test_typescript_writes_unknown_for_a_member_of_any_kind() -> None:
    assert typescript.from_schema({}, "Info.member") == "unknown"


def test_an_operation_without_codes_is_named_with_the_table() -> None:
    row = Operation(ListInput, UnknownOutput, mutates=False)
    with pytest.raises(LookupError, match="'planted' has no codes in HOST_REFUSALS"):
        refusals("planted", row)

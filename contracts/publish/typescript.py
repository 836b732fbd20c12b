"""The contract as TypeScript declarations: two modules in one file.

``alga:extension/scheduler`` is what an extension imports, from the same source as the WIT;
``ext-scheduler`` is what crosses the bus. A copy is in ``docs/api``.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from contracts.admin import ADMIN_OPS
from contracts.errors import NUMBERS, Code
from contracts.publish import wit
from contracts.publish.schemas import (
    ADMIN_REFUSALS,
    HOST_REFUSALS,
    AnyOperation,
    schemas,
    service_errors,
)
from contracts.schedules import HOST_OPS
from contracts.subjects import ADMIN_AUDIENCE, HOST_AUDIENCE

_SCALARS = {
    "string": "string",
    "integer": "number",
    "number": "number",
    "boolean": "boolean",
    "null": "null",
}


def declarations() -> str:
    """Write the file."""
    return "\n".join(
        [
            "// Made by `ext-scheduler asyncapi --as typescript`.",
            "",
            "/** What an extension imports. Reads throw an error whose `payload` is the code. */",
            f'declare module "{wit.PACKAGE}/scheduler" {{',
            *_indented(_extension()),
            "}",
            "",
            "/** What crosses the bus. */",
            'declare module "ext-scheduler" {',
            *_indented(_bus()),
            "}",
            "",
        ]
    )


def _extension() -> Iterator[str]:
    yield f"export type SchedulerError = {_union(wit.errors())};"
    for name, fields in wit.records().items():
        yield f"export interface {_pascal(name)} {{"
        for field in fields:
            yield from _comment(field.doc, "  ")
            optional = "?" if field.type.startswith("option<") else ""
            yield f"  {_camel(field.name)}{optional}: {_of_wit(field.type.removeprefix('option'))};"
        yield "}"
    for function in wit.functions():
        parameters = ", ".join(
            f"{_camel(each.name)}: {_of_wit(each.type)}" for each in function.parameters
        )
        answer = _of_wit(function.answer)
        if function.answer.startswith("option<"):
            answer += " | undefined"
        yield f"export function {_camel(function.name)}({parameters}): {answer};"


def _of_wit(text: str) -> str:
    if "<" in text:
        outer, _, inner = text.removesuffix(">").partition("<")
        return f"{_of_wit(inner)}[]" if outer == "list" else _of_wit(inner)
    return {"string": "string", "bool": "boolean"}.get(text, _pascal(text))


def _bus() -> Iterator[str]:
    for name, schema in schemas("{name}").items():
        yield from _type(name, schema)
    yield "/** The number of each code, as in the header `Nats-Service-Error-Code`. */"
    yield "export interface Numbers {"
    yield from (f"  {code.value}: {number};" for code, number in NUMBERS.items())
    yield "}"
    yield "/** A negative result, or a service error, with one of these codes. */"
    yield "export type Refusal<C extends Code> = ErrorBody & { code: C };"
    yield from _table("Host", HOST_AUDIENCE, HOST_OPS, HOST_REFUSALS)
    yield from _table("Admin", ADMIN_AUDIENCE, ADMIN_OPS, ADMIN_REFUSALS)


def _table(
    realm: str,
    audience: str,
    rows: Mapping[str, AnyOperation],
    refusals: Mapping[str, Sequence[Code]],
) -> Iterator[str]:
    yield f"/** `{audience}.<op>`: `refusal` are results, `error` the service's own errors. */"
    yield f"export interface {realm}Operations {{"
    for op, row in rows.items():
        yield f"  {op}: {{"
        yield f"    input: {row.input.__name__};"
        yield f"    output: {row.output.__name__};"
        yield f"    refusal: Refusal<{_codes(refusals[op])}>;"
        yield f"    error: Refusal<{_codes(service_errors(op, row))}>;"
        yield "  };"
    yield "}"


def _codes(codes: Sequence[Code]) -> str:
    return _union(code.value for code in codes) if codes else "never"


def _type(name: str, schema: Mapping[str, Any]) -> Iterator[str]:
    yield from _comment(schema.get("description", ""))
    if "properties" not in schema and schema.get("type") != "object":
        yield f"export type {name} = {_written(schema)};"
        return
    required = set(schema.get("required", ()))
    yield f"export interface {name} {{"
    for member, part in schema.get("properties", {}).items():
        yield from _comment(part.get("description", ""), "  ")
        yield f"  {member}{'' if member in required else '?'}: {_written(part)};"
    yield "}"


def _written(schema: Mapping[str, Any]) -> str:
    """Write a schema as a type."""
    match schema:
        case {"$ref": str(name)}:
            written = name
        case {"anyOf": [*parts]}:
            written = " | ".join(map(_written, parts))
        case {"const": value}:
            written = json.dumps(value)
        case {"enum": [*values]}:
            written = _union(values)
        case {"type": "array"}:
            inner = _written(schema.get("items", {}))
            written = f"({inner})[]" if " " in inner else f"{inner}[]"
        case {"type": "object"}:
            written = f"Record<string, {_written(schema.get('additionalProperties', {}))}>"
        case _:
            written = _SCALARS.get(schema.get("type", ""), "unknown")
    return written


def _union(values: Iterable[object]) -> str:
    return " | ".join(json.dumps(value) for value in values)


def _comment(text: str, indent: str = "") -> list[str]:
    lines = text.splitlines()
    if len(lines) <= 1:
        return [f"{indent}/** {line} */" for line in lines]
    body = [f"{indent} * {line}".rstrip() for line in lines]
    return [f"{indent}/**", *body, f"{indent} */"]


def _indented(lines: Iterable[str]) -> Iterator[str]:
    return (f"  {line}" for line in lines)


def _camel(kebab: str) -> str:
    first, *others = kebab.split("-")
    return first + "".join(word.capitalize() for word in others)


def _pascal(kebab: str) -> str:
    return "".join(word.capitalize() for word in kebab.split("-"))

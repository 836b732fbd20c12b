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
    AnyOperation,
    refusals,
    schemas,
    service_errors,
)
from contracts.schedules import HOST_OPS
from contracts.subjects import ADMIN_AUDIENCE, HOST_AUDIENCE

_JSON_SCALARS = {
    "string": "string",
    "integer": "number",
    "number": "number",
    "boolean": "boolean",
    "null": "null",
}
_WIT_SCALARS = {"string": "string", "bool": "boolean"}


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
    yield f"export type SchedulerError = {_union(wit.error_names())};"
    for name, fields in wit.records().items():
        yield f"export interface {_pascal(name)} {{"
        for field in fields:
            yield from _comment(field.doc, "  ")
            optional = "?" if field.type.startswith("option<") else ""
            written = from_wit(field.type, f"{name}.{field.name}")
            yield f"  {_camel(field.name)}{optional}: {written};"
        yield "}"
    for function in wit.functions():
        parameters = ", ".join(
            f"{_camel(field.name)}: {from_wit(field.type, f'{function.name}.{field.name}')}"
            for field in function.parameters
        )
        result = from_wit(function.result, f"the result of {function.name}")
        if function.result.startswith("option<"):
            result += " | undefined"
        yield f"export function {_camel(function.name)}({parameters}): {result};"


def from_wit(text: str, member: str) -> str:
    """Write a WIT type as TypeScript; an option is the type itself.

    Raises:
        UnknownType: it is none of those that the interface has; the message names ``member``.
    """
    if "<" in text:
        outer, _, inner = text.removesuffix(">").partition("<")
        written = from_wit(inner, member)
        if outer not in {"list", "option"}:
            raise wit.UnknownType(f"{member}: {text} has no TypeScript type")
        return f"{written}[]" if outer == "list" else written
    if text in _WIT_SCALARS:
        return _WIT_SCALARS[text]
    if text not in wit.records():
        raise wit.UnknownType(f"{member}: {text} has no TypeScript type")
    return _pascal(text)


def _bus() -> Iterator[str]:
    for name, schema in schemas("{name}").items():
        yield from _type(name, schema)
    yield "/** The number of each code, as in the header `Nats-Service-Error-Code`. */"
    yield "export interface Numbers {"
    yield from (f"  {code.value}: {number};" for code, number in NUMBERS.items())
    yield "}"
    yield "/** A negative result, or a service error, with one of these codes. */"
    yield "export type Refusal<C extends Code> = ErrorBody & { code: C };"
    yield from _table("Host", HOST_AUDIENCE, HOST_OPS)
    yield from _table("Admin", ADMIN_AUDIENCE, ADMIN_OPS)


def _table(
    realm: str,
    audience: str,
    rows: Mapping[str, AnyOperation],
) -> Iterator[str]:
    yield f"/** `{audience}.<op>`: `refusal` are results, `error` the service's own errors. */"
    yield f"export interface {realm}Operations {{"
    for op, row in rows.items():
        yield f"  {op}: {{"
        yield f"    input: {row.input.__name__};"
        yield f"    output: {row.output.__name__};"
        yield f"    refusal: Refusal<{_codes(refusals(op, row))}>;"
        yield f"    error: Refusal<{_codes(service_errors(op, row))}>;"
        yield "  };"
    yield "}"


def _codes(codes: Sequence[Code]) -> str:
    return _union(code.value for code in codes) if codes else "never"


def _type(name: str, schema: Mapping[str, Any]) -> Iterator[str]:
    yield from _comment(schema.get("description", ""))
    if "properties" not in schema and schema.get("type") != "object":
        yield f"export type {name} = {from_schema(schema, name)};"
        return
    required = set(schema.get("required", ()))
    yield f"export interface {name} {{"
    for member, part in schema.get("properties", {}).items():
        yield from _comment(part.get("description", ""), "  ")
        optional = "" if member in required else "?"
        yield f"  {member}{optional}: {from_schema(part, f'{name}.{member}')};"
    yield "}"


def from_schema(schema: Mapping[str, Any], member: str) -> str:
    """Write a JSON Schema as a TypeScript type; one that allows everything is ``unknown``.

    Raises:
        UnknownType: a schema of another kind; the message names ``member``.
    """
    match schema:
        case {"$ref": str(name)}:
            written = name
        case {"anyOf": [*alternatives]}:
            written = " | ".join(from_schema(schema, member) for schema in alternatives)
        case {"const": value}:
            written = json.dumps(value)
        case {"enum": [*values]}:
            written = _union(values)
        case {"type": "array"}:
            inner = from_schema(schema.get("items", {}), member)
            written = f"({inner})[]" if " " in inner else f"{inner}[]"
        case {"type": "object"}:
            inner = from_schema(schema.get("additionalProperties", {}), member)
            written = f"Record<string, {inner}>"
        case {"type": str(name)} if name in _JSON_SCALARS:
            written = _JSON_SCALARS[name]
        case _ if schema.keys() <= {"description", "default"}:
            written = "unknown"
        case _:
            raise wit.UnknownType(f"{member}: {dict(schema)} has no TypeScript type")
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

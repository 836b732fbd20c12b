"""The contract as TypeScript declarations, several modules in one file.

``alga:extension/…`` are what an extension imports, the scheduler from the same source as the WIT;
``ext-scheduler`` is what crosses the bus. A copy is in ``docs/api``.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from contracts.admin import ADMIN_OPS
from contracts.errors import NUMBERS, Code
from contracts.publish import typescript_extension, wit
from contracts.publish.schemas import (
    AnyOperation,
    refusals,
    schemas,
    service_errors,
)
from contracts.publish.typescript_extension import comment, union
from contracts.schedules import HOST_OPS
from contracts.subjects import ADMIN_AUDIENCE, HOST_AUDIENCE

_JSON_SCALARS = {
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
            *typescript_extension.modules(),
            "",
            "/** What crosses the bus. */",
            'declare module "ext-scheduler" {',
            *_indented(_bus()),
            "}",
            "",
        ]
    )


def _bus() -> Iterator[str]:
    for name, schema in schemas("{name}").items():
        yield from type_declaration(name, schema)
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
    return union(code.value for code in codes) if codes else "never"


def type_declaration(name: str, schema: Mapping[str, Any]) -> Iterator[str]:
    """Write a named type as lines. Raises UnknownType."""
    yield from comment(schema.get("description", ""))
    if "properties" not in schema and schema.get("type") != "object":
        yield f"export type {name} = {from_schema(schema, name)};"
        return
    required = set(schema.get("required", ()))
    yield f"export interface {name} {{"
    for member, part in schema.get("properties", {}).items():
        yield from comment(part.get("description", ""), "  ")
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
            written = union(values)
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


def _indented(lines: Iterable[str]) -> Iterator[str]:
    return (f"  {line}" for line in lines)

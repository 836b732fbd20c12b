"""What an extension imports and exports as TypeScript declarations: a module per interface.

An option may be left out; ``list<u8>`` is a ``Uint8Array`` and a ``u64`` a ``bigint``, as
componentize-js gives them.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

from contracts.publish import wit, world
from contracts.publish.wit import Field
from contracts.publish.world import WorldFunction

_SCALARS: Mapping[str, str] = MappingProxyType(
    {
        "string": "string",
        "bool": "boolean",
        "u16": "number",
        "u64": "bigint",
        "list<u8>": "Uint8Array",
    }
)
_RESERVED = {"delete"}
"""Names that JavaScript allows for an export, but not for a function."""


def extension_declarations() -> str:
    """Write the file that an extension in TypeScript is checked against."""
    return "\n".join(["// Made by `ext-scheduler new`.", "", *modules(), ""])


def modules() -> list[str]:
    """Write the modules, as lines."""
    return [
        "/** The records of the interfaces, and what an extension exports. */",
        *_module("types", _types()),
        "",
        "/** The caller. Throws where `cap:context.read` is not granted. */",
        *_module("context", _world_functions("context")),
        "",
        "/** Lines of the extension's log. */",
        *_module("logging", _world_functions("logging")),
        "",
        "/** Throws an error whose `payload` is a `StorageError`. */",
        *_module("storage", _world_functions("storage")),
        "",
        "/** The extension's own schedules. Reads throw an error whose `payload` is the code. */",
        *_module("scheduler", _scheduler()),
    ]


def _module(name: str, lines: Iterable[str]) -> list[str]:
    return [
        f'declare module "{wit.PACKAGE}/{name}" {{',
        *(f"  {line}" for line in lines),
        "}",
    ]


def _types() -> Iterator[str]:
    for name, cases in world.ENUMS.items():
        yield f"export type {pascal(name)} = {union(cases)};"
    for name, fields in world.RECORDS.items():
        yield from _record(name, fields)
    [parameter] = world.HANDLER.parameters
    result = pascal(world.HANDLER.result or "")
    yield f"/** The export `{world.HANDLER.name}`: answers every request. */"
    yield f"export type Handler = ({parameter.name}: {pascal(parameter.type)}) => {result};"


def _world_functions(interface: str) -> Iterator[str]:
    functions = world.INTERFACES[interface]
    used = sorted({name for function in functions for name in _records_of(function)})
    if used:
        names = ", ".join(pascal(name) for name in used)
        yield f'import type {{ {names} }} from "{wit.PACKAGE}/types";'
    reserved = [function.name for function in functions if function.name in _RESERVED]
    export = "" if reserved else "export "
    for function in functions:
        name = f"_{function.name}" if function.name in _RESERVED else camel(function.name)
        result = from_wit(function.result, function.name) if function.result else "void"
        yield f"{export}function {name}({_parameters(function.parameters, name)}): {result};"
    if reserved:
        names = ", ".join(
            f"_{function.name} as {function.name}"
            if function.name in _RESERVED
            else camel(function.name)
            for function in functions
        )
        yield f"export {{ {names} }};"


def _records_of(function: WorldFunction) -> set[str]:
    types = [field.type for field in function.parameters] + [function.result or ""]
    names = {text.removeprefix("list<").removesuffix(">") for text in types}
    return names & world.RECORDS.keys()


def records() -> list[str]:
    """Write every record and enum as lines, for a module that is none of the extension's."""
    return [*_types(), *_scheduler_records()]


def _scheduler_records() -> Iterator[str]:
    yield f"export type SchedulerError = {union(wit.error_names())};"
    for name, fields in wit.records().items():
        yield from _record(name, fields)


def _scheduler() -> Iterator[str]:
    yield from _scheduler_records()
    for function in wit.functions():
        result = from_wit(function.result, f"the result of {function.name}")
        if function.result.startswith("option<"):
            result += " | undefined"
        parameters = _parameters(function.parameters, function.name)
        yield f"export function {camel(function.name)}({parameters}): {result};"


def _record(name: str, fields: Sequence[Field]) -> Iterator[str]:
    yield f"export interface {pascal(name)} {{"
    for field in fields:
        yield from comment(field.doc, "  ")
        optional = "?" if field.type.startswith("option<") else ""
        written = from_wit(field.type, f"{name}.{field.name}")
        yield f"  {camel(field.name)}{optional}: {written};"
    yield "}"


def _parameters(fields: Sequence[Field], function: str) -> str:
    return ", ".join(
        f"{camel(field.name)}{'?' if field.type.startswith('option<') else ''}: "
        f"{from_wit(field.type, f'{function}.{field.name}')}"
        for field in fields
    )


def from_wit(text: str, member: str) -> str:
    """Write a WIT type as TypeScript; an option is the type itself.

    Raises:
        UnknownType: it is none of those that the interfaces have; the message names ``member``.
    """
    if text in _SCALARS:
        return _SCALARS[text]
    if "<" in text:
        outer, _, inner = text.removesuffix(">").partition("<")
        written = from_wit(inner, member)
        if outer not in {"list", "option"}:
            raise wit.UnknownType(f"{member}: {text} has no TypeScript type")
        return f"{written}[]" if outer == "list" else written
    if text not in wit.records() and text not in world.RECORDS:
        raise wit.UnknownType(f"{member}: {text} has no TypeScript type")
    return pascal(text)


def union(values: Iterable[object]) -> str:
    """Write a union of literals."""
    return " | ".join(json.dumps(value) for value in values)


def comment(text: str, indent: str = "") -> list[str]:
    """Write a documentation comment; nothing for an empty text."""
    lines = text.splitlines()
    if len(lines) <= 1:
        return [f"{indent}/** {line} */" for line in lines]
    body = [f"{indent} * {line}".rstrip() for line in lines]
    return [f"{indent}/**", *body, f"{indent} */"]


def camel(kebab: str) -> str:
    """Write a name of the WIT as JavaScript names a function or member."""
    first, *others = kebab.split("-")
    return first + "".join(word.capitalize() for word in others)


def pascal(kebab: str) -> str:
    """Write a name of the WIT as TypeScript names a type."""
    return "".join(word.capitalize() for word in kebab.split("-"))

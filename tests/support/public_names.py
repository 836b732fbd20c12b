"""Public names of classes and type aliases, and those that are defined more than once."""

import ast
from collections import defaultdict
from collections.abc import Iterable

from tests.support.sources import Source

ALIAS_CALLS = {"NewType"}
ALIASED_GENERICS = {
    "Annotated",
    "AsyncGenerator",
    "AsyncIterable",
    "AsyncIterator",
    "Awaitable",
    "Callable",
    "Coroutine",
    "Generator",
    "Iterable",
    "Iterator",
    "Literal",
    "Mapping",
    "Optional",
    "Sequence",
    "Union",
    "dict",
    "frozenset",
    "list",
    "set",
    "tuple",
    "type",
}

BUILT_IN_TYPES = {
    "bool",
    "bytes",
    "dict",
    "float",
    "frozenset",
    "int",
    "list",
    "set",
    "str",
    "tuple",
}


def doubly_defined(sources: Iterable[Source]) -> list[str]:
    """Return one line for each public name that several modules define, with where."""
    places: dict[str, list[str]] = defaultdict(list)
    for source in sources:
        for name, line in defined_types(source):
            places[name].append(f"{source.path}:{line}")
    return [
        f"{name}: {', '.join(found)}" for name, found in sorted(places.items()) if len(found) > 1
    ]


def defined_types(source: Source) -> list[tuple[str, int]]:
    """Return the public classes and type aliases at the top of a module, with their lines."""
    names = []
    for node in ast.parse(source.text).body:
        name = _type_name(node)
        if name is not None and not name.startswith("_"):
            names.append((name, node.lineno))
    return names


def _type_name(node: ast.stmt) -> str | None:
    """Return the name that a statement gives to a class or a type, None for other statements."""
    match node:
        case ast.ClassDef(name=name):
            return name
        case ast.AnnAssign(target=ast.Name(id=name), annotation=ast.Name(id="TypeAlias")):
            return name
        case ast.Assign(targets=[ast.Name(id=name)], value=value) if _is_type(value):
            return name
        case _:
            # `type X = …` is a node of Python 3.12 and newer.
            target = getattr(node, "name", None) if type(node).__name__ == "TypeAlias" else None
            return target.id if isinstance(target, ast.Name) else None


def _is_type(value: ast.expr) -> bool:
    """Return whether an assigned expression is a type: generic, union, or made by a call."""
    match value:
        case ast.Subscript(value=ast.Name(id=name) | ast.Attribute(attr=name)):
            return name in ALIASED_GENERICS
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _may_be_type(left) and _may_be_type(right)
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
            return name in ALIAS_CALLS
        case _:
            return False


def _may_be_type(value: ast.expr) -> bool:
    match value:
        case ast.Name(id=name):
            return (name[:1].isupper() and not name.isupper()) or name in BUILT_IN_TYPES
        case ast.Constant(value=None) | ast.Subscript():
            return True
        case ast.BinOp():
            return _is_type(value)
        case _:
            return False

"""Gives a loaded module the code of another source: whoever has imported from it runs that."""

import ast
import functools
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any


def unchanged(module: ModuleType) -> str:
    """Return the source of a module as it is, written as the mutants are."""
    return ast.unparse(ast.parse(Path(str(module.__file__)).read_text()))


def change(module: ModuleType, source: str) -> None:
    """Give the functions of a module the code of ``source``, and its constants what differs."""
    changed = ModuleType(module.__name__)
    changed.__file__ = module.__file__
    exec(compile(source, str(module.__file__), "exec"), vars(changed))
    _change_functions(vars(module), vars(changed), module.__name__)
    for name in differing(unchanged(module), source):
        value, other = vars(module).get(name), vars(changed).get(name)
        if name.isupper() and value != other:
            _replace(value, other, name)
    _forget()


def _forget() -> None:
    """Clear what was remembered since the tests were imported: by the code as it was."""
    for name, module in list(sys.modules.items()):
        for value in vars(module).values() if name.startswith("service.") else ():
            if isinstance(value, functools._lru_cache_wrapper):
                value.cache_clear()


def differing(before: str, after: str) -> set[str]:
    """Return the names of a module whose statements differ, or use one that does.

    Others are kept as they are: a decoder made anew would make objects of other classes.
    """
    names: set[str] = set()
    for old, new in zip(ast.parse(before).body, ast.parse(after).body, strict=True):
        used = {node.id for node in ast.walk(old) if isinstance(node, ast.Name)}
        if ast.unparse(old) != ast.unparse(new) or used & names:
            names |= set(_defined(old))
    return names


def _defined(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield statement.name
    elif isinstance(statement, ast.Assign | ast.AnnAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        for node in (each for target in targets for each in ast.walk(target)):
            if isinstance(node, ast.Name):
                yield node.id


def _change_functions(old: Any, new: Any, name: str) -> None:
    for key, value in list(old.items()):
        other = new.get(key)
        if isinstance(value, type) and isinstance(other, type) and value.__module__ == name:
            _change_functions(vars(value), vars(other), name)
            continue
        function, twin = _function(value), _function(other)
        if function is not None and twin is not None and function.__module__ == name:
            function.__code__ = twin.__code__
            function.__defaults__ = twin.__defaults__
            function.__kwdefaults__ = twin.__kwdefaults__


def _replace(value: object, other: object, key: str) -> None:
    for name, module in list(sys.modules.items()):
        if name.startswith(("service.", "tests.")) and vars(module).get(key) is value:
            vars(module)[key] = other


def _function(value: object) -> FunctionType | None:
    value = getattr(value, "fget", value)
    value = getattr(value, "__func__", value)
    value = getattr(value, "__wrapped__", value)
    return value if isinstance(value, FunctionType) else None

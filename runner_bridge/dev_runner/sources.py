"""Python extensions that run from their sources: what `dev --watch` installs after each save.

Compiling one takes half a minute, most of it for CPython's own code, which is the same for all. So
that is compiled once, as the interpreter, and asks the Runner for the modules at each call.
"""

import ast
import hashlib
import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path

import msgspec

from runner_bridge.dev_runner.build import (
    BUILD_TIMEOUT_S,
    WIT,
    Guest,
    build_guest,
    check_syntax,
    source_files,
)
from runner_bridge.dev_runner.components import (
    HASH_PREFIX,
    ExtensionSources,
    install,
    sources_file,
)

INTERPRETER = Path(__file__).parent / "interpreter"
MODULE = "interpreter"
LOAD_METHOD = "LOAD"
"""The method of a request that only loads an extension: 204, or 500 and why it failed."""
BINDINGS = tuple(
    f"wit_world.imports.{name}" for name in ("context", "logging", "scheduler", "storage", "types")
)
# What extensions are likely to import, so that an import more needs no other interpreter.
STANDARD = frozenset(
    """abc ast base64 binascii bisect calendar collections collections.abc contextlib contextvars
    copy csv dataclasses datetime decimal difflib email.message email.utils enum fractions functools
    graphlib hashlib heapq hmac html html.parser http importlib inspect io ipaddress itertools json
    keyword logging math numbers operator pprint random re secrets statistics string struct sys
    textwrap time tomllib traceback types typing unicodedata urllib.parse uuid warnings weakref
    xml.etree.ElementTree zlib zoneinfo""".split()  # noqa: SIM905 - shorter than a line each
)


def runs_from_sources(source: Path) -> bool:
    """Return whether the extension in a directory can: Python, against the plain world."""
    return (source / "extension.py").is_file() and not (source / "wit").is_dir()


def install_sources(
    source: Path, directory: Path, cache: Path, timeout_s: float = BUILD_TIMEOUT_S
) -> str:
    """Install an extension's sources into a directory of components; return their content hash.

    Raises BuildFailed where they are not Python, or the interpreter cannot be compiled.
    """
    check_syntax(source)
    modules = {
        path.stem: importlib.util.decode_source(path.read_bytes())
        for path in source_files(source, ["*.py"])
    }
    guest = interpreter(standard_imports(modules) - STANDARD)
    component = install(build_guest(guest, cache, timeout_s), directory)
    return keep_sources(directory, component, modules)


def keep_sources(directory: Path, interpreter: str, texts: dict[str, str]) -> str:
    """Write an extension's texts into a directory of components; return their content hash.

    ``interpreter`` is the content hash of the component that runs them.
    """
    document = msgspec.json.encode(ExtensionSources(interpreter, texts), order="sorted")
    digest = hashlib.sha256(document).hexdigest()
    target = sources_file(directory, digest)
    partial = target.with_suffix(".partial")
    partial.write_bytes(document)
    partial.replace(target)
    return HASH_PREFIX + digest


def standard_imports(modules: dict[str, str]) -> frozenset[str]:
    """Return the names of what is imported of the standard library anywhere in the texts."""
    imported = {name for text in modules.values() for name in _imports(ast.parse(text))}
    return frozenset(
        name for name in imported if name.partition(".")[0] in sys.stdlib_module_names
    ) - frozenset(modules)


def _imports(tree: ast.AST) -> Iterable[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from filter(_is_module, (f"{node.module}.{alias.name}" for alias in node.names))


def _is_module(name: str) -> bool:
    """Return whether an imported name is a module of the standard library, not something in one."""
    if name.partition(".")[0] not in sys.stdlib_module_names:
        return False
    try:
        return importlib.util.find_spec(name) is not None
    except ImportError:
        return False


def interpreter(additional: frozenset[str]) -> Guest:
    """Return the interpreter whose extensions may import ``additional`` too."""
    lines = ["from contextlib import suppress", "from importlib import import_module"]
    lines += [f"LOAD_METHOD = {LOAD_METHOD!r}"]
    for name in (*BINDINGS, *sorted(STANDARD | additional)):
        lines += ["with suppress(ImportError):", f"    import_module({name!r})"]
    return Guest(
        source=INTERPRETER,
        modules={
            f"{MODULE}.py": (INTERPRETER / f"{MODULE}.py").read_bytes(),
            "preloaded.py": "\n".join(lines).encode(),
        },
        wit=interpreter_wit(),
        world=MODULE,
        module=MODULE,
    )


def interpreter_wit() -> dict[str, bytes]:
    """Return the files of the interpreters' world, by relative path."""
    return {
        "interpreter.wit": (INTERPRETER / "interpreter.wit").read_bytes(),
        "deps/extension/extension.wit": (WIT / "extension.wit").read_bytes(),
    }

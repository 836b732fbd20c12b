"""JavaScript and TypeScript extensions that run from their sources: what ``dev --watch`` installs.

Compiling one takes 20 seconds of a processor, nearly all for the engine, which is the same for all.
So the engine is compiled once, with a program that asks the Runner for the extension at each call;
a save only bundles its modules into one script.
"""

import hashlib
import json
import shutil
import tempfile
from pathlib import Path

import msgspec
from msgspec import Struct

from devstack.errors import StackError
from devstack.javascript import check_package, run_tool
from devstack.progress import phase
from runner_bridge.dev_runner.build import WIT, locked
from runner_bridge.dev_runner.components import install
from runner_bridge.dev_runner.sources import INTERPRETER, interpreter_wit, keep_sources

ENTRIES = ("extension.ts", "extension.js")
PROGRAM = INTERPRETER / "interpreter.js"
BUNDLE = Path(__file__).parent / "node" / "bundle.mjs"
COMPILE = Path(__file__).parent / "node" / "compile.mjs"
BUNDLER = "node_modules/rolldown/package.json"
COMPILER = "node_modules/@bytecodealliance/componentize-js/package.json"
HOST = frozenset(
    f"alga:extension/{name}" for name in ("context", "logging", "scheduler", "storage")
)
_KEY_CHARACTERS = 16


class Bundle(Struct, frozen=True):
    """One script, its source map as JSON, and the modules that it imports from the host."""

    script: str
    map: str
    imports: list[str]


def package_entry(source: Path) -> str | None:
    """Return the module of a package that can run from its sources; None where it cannot.

    It must be against the plain world, and have bundler and compiler installed.
    """
    if not all((source / path).is_file() for path in (BUNDLER, COMPILER)):
        return None
    entry = next((name for name in ENTRIES if (source / name).is_file()), None)
    own = {path.name: path.read_bytes() for path in source.glob("wit/**/*.wit")}
    plain = {path.name: path.read_bytes() for path in WIT.glob("**/*.wit")}
    return entry if own in ({}, plain) else None


def install_package_sources(
    source: Path, entry: str, directory: Path, cache: Path, timeout_s: float
) -> str:
    """Install an extension's script into a directory of components; return its content hash.

    Raises StackError, with what the author's own tools said.
    """
    source = source.resolve()
    cache.mkdir(parents=True, exist_ok=True)
    with locked(cache / f"{source.name}.lock"):
        check_package(source, timeout_s)
        printed = run_tool(["node", str(BUNDLE), str(source), entry], source, timeout_s)
    bundle = msgspec.json.decode(printed, type=Bundle)
    if other := sorted(set(bundle.imports) - HOST):
        raise StackError(f"{source / entry}: {other[0]} is not offered to extensions")
    component = install(_interpreter(source, cache, timeout_s), directory)
    return keep_sources(directory, component, {"script": bundle.script, "map": bundle.map})


def _interpreter(source: Path, cache: Path, timeout_s: float) -> Path:
    """Return the component that runs scripts, compiled once by the compiler of a package."""
    wit = interpreter_wit()
    version = json.loads((source / COMPILER).read_bytes())["version"]
    parts = [version.encode(), PROGRAM.read_bytes()]
    digest = hashlib.sha256(b"\0".join([*parts, *wit.values()])).hexdigest()[:_KEY_CHARACTERS]
    target = cache / f"interpreter-javascript-{digest}.wasm"
    with locked(target.with_suffix(".lock")), tempfile.TemporaryDirectory(dir=cache) as scratch:
        if target.is_file():
            return target
        for path, content in wit.items():
            file = Path(scratch) / "wit" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        shutil.copy(PROGRAM, scratch)
        with phase("compiling the JavaScript engine, once for each version of the compiler"):
            run_tool(["node", str(COMPILE), str(source), PROGRAM.name], Path(scratch), timeout_s)
        (Path(scratch) / "interpreter.wasm").replace(target)
    return target

"""Builds JavaScript and TypeScript extensions by their own ``package.json``.

``npm run check`` is quick and names mistakes; ``npm run build`` writes ``extension.wasm``.
"""

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import msgspec
from msgspec import Struct

from devstack.errors import StackError
from devstack.progress import phase
from runner_bridge.dev_runner.build import locked, source_files

PACKAGE = "package.json"
RESULT = "extension.wasm"
SOURCES = ("*.js", "*.mjs", "*.ts", "src/**/*.js", "src/**/*.ts", "wit/**/*.wit", "*.json")
_INSIDES = re.compile(r"^(?:    at |Node\.js v|\s*$)")
"""Lines of node's own: its stack, its version, and what is empty."""
_KEY_CHARACTERS = 16


_NOTHING: Mapping[str, str] = MappingProxyType({})


class _Package(Struct, rename="camel"):
    scripts: Mapping[str, str] = _NOTHING
    dependencies: Mapping[str, str] = _NOTHING
    dev_dependencies: Mapping[str, str] = _NOTHING


def build_package(source: Path, cache: Path, timeout_s: float) -> Path:
    """Return the component of the package in ``source``; build it where its sources changed.

    Raises StackError, with what the author's own tools said.
    """
    source = source.resolve()
    cache.mkdir(parents=True, exist_ok=True)
    with locked(cache / f"{source.name}.lock"):
        install_dependencies(source, timeout_s)
        check_package(source, timeout_s)
        target = cache / f"{source.name}-{_key(source)}.wasm"
        if not target.is_file():
            with phase("compiling (npm run build)"):
                run_tool(["npm", "run", "--silent", "build"], source, timeout_s)
            _keep(source / RESULT, target)
    return target


def install_dependencies(source: Path, timeout_s: float) -> None:
    """Install what a package depends on where something of it is missing. Raises StackError."""
    package = _read(source)
    names = [*package.dependencies, *package.dev_dependencies]
    if not all(_is_installed(source, name) for name in names):
        # This writes package-lock.json, which is one of the sources.
        # Of what another package has fetched already, npm asks nothing again.
        options = ["--no-audit", "--no-fund", "--prefer-offline"]
        with phase("fetching what package.json names, once (npm install)"):
            run_tool(["npm", "install", *options], source, timeout_s)


def _read(source: Path) -> _Package:
    try:
        return msgspec.json.decode((source / PACKAGE).read_bytes(), type=_Package)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise StackError(f"{source / PACKAGE}: {error}") from None


def _is_installed(source: Path, name: str) -> bool:
    """Return whether node would find a package, here or in a directory above."""
    return any((place / "node_modules" / name).is_dir() for place in (source, *source.parents))


def check_package(source: Path, timeout_s: float) -> None:
    """Run the script ``check`` of a package that has one. Raises StackError."""
    if script := _read(source).scripts.get("check"):
        # Without npm, which takes longer than the check itself.
        with phase(f"checking ({script})"):
            run_tool(["/bin/sh", "-c", script], source, timeout_s)


def _key(source: Path) -> str:
    digest = hashlib.sha256()
    for path in source_files(source, SOURCES):
        digest.update(f"\0{path.relative_to(source)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:_KEY_CHARACTERS]


def run_tool(command: Sequence[str], source: Path, timeout_s: float) -> str:
    """Return what a command prints that may use the programs of a package's dependencies.

    Raises StackError, with what of its output concerns the author, where it fails.
    """
    programs = str(source / "node_modules" / ".bin") + os.pathsep + os.environ.get("PATH", "")
    program = shutil.which(command[0], path=programs)
    if program is None:
        raise StackError(
            f"{command[0]} is not installed: extensions with a package.json need node and npm"
        )
    try:
        done = subprocess.run(
            [program, *command[1:]],
            cwd=source,
            env={**os.environ, "PATH": programs},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise StackError(f"{' '.join(command)} took longer than {timeout_s:g} s") from None
    if done.returncode:
        output = author_lines(done.stdout + done.stderr)
        raise StackError(output or f"{' '.join(command)} failed")
    return done.stdout


def author_lines(output: str) -> str:
    """Return what of the tools' output concerns the author's files."""
    lines = [line.rstrip() for line in output.splitlines() if not _INSIDES.match(line)]
    return "\n".join(line for line in lines if not line.startswith("npm "))


def _keep(result: Path, target: Path) -> None:
    if not result.is_file():
        raise StackError(f"`npm run build` wrote no {RESULT}")
    partial = target.with_suffix(".partial")
    shutil.copy(result, partial)
    partial.replace(target)

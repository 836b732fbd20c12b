"""Builds JavaScript and TypeScript extensions by their own ``package.json``.

``npm run check`` is quick and names mistakes; ``npm run build`` writes ``extension.wasm``.
"""

import hashlib
import re
import shutil
import subprocess
from pathlib import Path

from devstack.errors import StackError
from runner_bridge.dev_runner.build import locked

PACKAGE = "package.json"
RESULT = "extension.wasm"
SOURCES = ("*.js", "*.mjs", "*.ts", "src/**/*.js", "src/**/*.ts", "wit/**/*.wit", "*.json")
_INSIDES = re.compile(r"^(?:    at |Node\.js v|\s*$)")
"""Lines of node's own: its stack, its version, and what is empty."""
_KEY_CHARACTERS = 16


def build_package(source: Path, cache: Path, timeout_s: float) -> Path:
    """Return the component of the package in ``source``; build it where its sources changed.

    Packages that are not installed yet are installed. Raises StackError, with what the author's
    own tools said.
    """
    source = source.resolve()
    cache.mkdir(parents=True, exist_ok=True)
    with locked(cache / f"{source.name}.lock"):
        if not (source / "node_modules").is_dir():
            # This writes package-lock.json, which is one of the sources.
            _npm(source, timeout_s, "install", "--no-audit", "--no-fund")
        target = cache / f"{source.name}-{_key(source)}.wasm"
        _npm(source, timeout_s, "run", "--silent", "--if-present", "check")
        if not target.is_file():
            _npm(source, timeout_s, "run", "--silent", "build")
            _keep(source / RESULT, target)
    return target


def _key(source: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted({path for pattern in SOURCES for path in source.glob(pattern)}):
        digest.update(f"\0{path.relative_to(source)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:_KEY_CHARACTERS]


def _npm(source: Path, timeout_s: float, *arguments: str) -> None:
    program = shutil.which("npm")
    if program is None:
        raise StackError("npm is not installed: extensions with a package.json need node and npm")
    try:
        done = subprocess.run(
            [program, *arguments],
            cwd=source,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        command = " ".join(arguments)
        raise StackError(f"npm {command} took longer than {timeout_s:g} s") from None
    if done.returncode:
        raise StackError(author_lines(done.stdout + done.stderr) or f"npm {arguments[0]} failed")


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

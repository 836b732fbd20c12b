"""Builds Python extensions into components, once per state of their sources.

An extension is a directory with ``extension.py`` (the module that holds ``WitWorld``), further
modules alongside, and, where its world is not the plain ``runner``, its own ``wit`` directory.
"""

import fcntl
import hashlib
import importlib.metadata
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

MODULE = "extension"
WORLD = "runner"
WIT = Path(__file__).parent / "wit"
BUILD_TIMEOUT_S = 300.0
_KEY_CHARACTERS = 16
_INSIDES = re.compile(r"^(?:Caused by|Stack backtrace):", re.MULTILINE)
"""Where the compiler's output turns to the compiler itself."""
_TRACEBACK = ("Traceback (most recent call last):", '  File "<string>"')
_FRAME = re.compile(r'^ *File "/0/(?P<file>[^"]+)", line (?P<line>\d+)', re.MULTILINE)
"""A line of a traceback in one of the author's modules, which the compiler sees in ``/0``."""


class Guest(Struct, frozen=True, kw_only=True):
    """What a component is compiled from: files by relative path; ``module`` has ``WitWorld``.

    ``source`` names it in errors.
    """

    source: Path
    modules: Mapping[str, bytes]
    wit: Mapping[str, bytes]
    world: str
    module: str

    @property
    def key(self) -> str:
        """Return a digest of everything that the component depends on."""
        digest = hashlib.sha256(importlib.metadata.version("componentize-py").encode())
        for files in (self.modules, self.wit):
            for path, content in sorted(files.items()):
                digest.update(f"\0{path}\0".encode() + content)
        return digest.hexdigest()[:_KEY_CHARACTERS]


class BuildFailed(RuntimeError):
    """componentize-py did not produce a component; the message is its own."""


def build_extension(
    source: Path, cache: Path | None = None, timeout_s: float = BUILD_TIMEOUT_S
) -> Path:
    """Return the path of the component of the extension in ``source``; build it if needed.

    ``cache`` is where components are kept; without it, ``.cache/extensions`` next to the nearest
    ``pyproject.toml`` above. Safe to call from several processes at once.

    Raises:
        BuildFailed: the compiler failed, or took longer than ``timeout_s``.
    """
    source = source.resolve()
    check_syntax(source)
    directory = cache or _default_cache(source)
    wit = source / "wit" if (source / "wit").is_dir() else WIT
    guest = Guest(
        source=source,
        modules=_contents(source, "*.py"),
        wit=_contents(wit, "**/*.wit"),
        world=WORLD,
        module=MODULE,
    )
    return build_guest(guest, directory, timeout_s)


def build_guest(guest: Guest, directory: Path, timeout_s: float) -> Path:
    """Return the path of a guest's component in ``directory``; build it if needed.

    Raises BuildFailed.
    """
    directory.mkdir(parents=True, exist_ok=True)
    target = directory.resolve() / f"{guest.source.name}-{guest.key}.wasm"
    if target.is_file():
        return target
    with locked(target.with_suffix(".lock")):
        if not target.is_file():
            _build(guest, target, timeout_s)
    return target


def source_files(root: Path, patterns: Iterable[str]) -> list[Path]:
    """Return the files below ``root`` that match any of the patterns, and are not hidden.

    An editor's lock file, ``.#extension.py``, is a link to nothing.
    """
    matching = {path for pattern in patterns for path in root.glob(pattern)}
    return sorted(p for p in matching if not p.name.startswith(".") and p.is_file())


def _contents(root: Path, pattern: str) -> dict[str, bytes]:
    files = source_files(root, [pattern])
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def check_syntax(source: Path) -> None:
    """Raise BuildFailed where a module is not Python, with its file, line and text."""
    for path in source_files(source, ["*.py"]):
        try:
            compile(path.read_bytes(), path, "exec", dont_inherit=True)
        except SyntaxError as error:
            where = f"{path}:{error.lineno}" if error.lineno else str(path)
            line = f"\n    {error.text.strip()}" if error.text else ""
            raise BuildFailed(f"{where}: {error.msg}{line}") from None
        except ValueError as error:
            raise BuildFailed(f"{path}: {error}") from None


def _default_cache(source: Path) -> Path:
    above = next((p for p in source.parents if (p / "pyproject.toml").is_file()), source)
    return above / ".cache" / "extensions"


def author_message(source: Path, output: str) -> str:
    """Return what in the compiler's output concerns the author: file and line, or its first error.

    The modules are executed once while compiling, so that these may be any exceptions of theirs.
    """
    text = _INSIDES.split(output, maxsplit=1)[0].strip()
    lines = text.splitlines()
    frames = list(_FRAME.finditer(text))
    if not frames:
        own = [line for line in lines if not line.startswith(_TRACEBACK)]
        return f"{source.name}: " + ("\n".join(own) or "the compiler printed nothing")
    frame = frames[-1]
    code = text[frame.end() :].partition("\n")[2].partition("\n")[0]
    shown = f"\n    {code.strip()}" if code.startswith(" ") else ""
    return f"{source / frame['file']}:{frame['line']}: {lines[-1].strip()}{shown}"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock between processes within the context; the file remains."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _build(guest: Guest, target: Path, timeout_s: float) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        # Everything on the Python path goes into the component, so it holds only the modules.
        modules = _written(Path(scratch) / "modules", guest.modules)
        wit = _written(Path(scratch) / "wit", guest.wit)
        result = Path(scratch) / "component.wasm"
        code = "import sys, componentize_py; sys.exit(componentize_py.script())"
        places = ["-d", str(wit), "-w", guest.world]
        outputs = [guest.module, "-p", str(modules), "-o", str(result)]
        try:
            done = subprocess.run(  # noqa: S603 - our own interpreter, and paths that the caller chose
                [sys.executable, "-c", code, "-q", *places, "componentize", *outputs],
                cwd=scratch,
                capture_output=True,
                text=True,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise BuildFailed(
                f"{guest.source.name}: compiling took longer than {timeout_s:g} s"
            ) from None
        if done.returncode or not result.is_file():
            raise BuildFailed(author_message(guest.source, done.stderr or done.stdout))
        result.replace(target)


def _written(directory: Path, files: Mapping[str, bytes]) -> Path:
    for path, content in files.items():
        file = directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return directory

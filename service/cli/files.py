"""Files named on the command line: every error is one line that names the file."""

import os
import stat
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from contracts.strict_json import strip_bom
from service.cli.errors import EXIT_USAGE, CommandError

T = TypeVar("T")

STANDARD_INPUT = Path("-")
PRIVATE = 0o600
PUBLIC = 0o644


def read(file: Path) -> bytes:
    """Return a file's bytes; ``-`` is standard input. Raises CommandError."""
    try:
        return sys.stdin.buffer.read() if file == STANDARD_INPUT else file.read_bytes()
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}", EXIT_USAGE) from None


def read_json(file: Path, type_: Any, description: str) -> Any:  # noqa: ANN401 - of that type
    """Decode a JSON file as ``type_``, which errors call ``description``. Raises CommandError."""
    return parse_json(read(file), type_, f"{file}: not {description}")


def parse_json(document: bytes | str, type_: Any, message: str) -> Any:  # noqa: ANN401 - likewise
    """Decode JSON as ``type_``. Raises CommandError that begins with ``message``."""
    if isinstance(document, bytes):
        document = strip_bom(document)
    try:
        return msgspec.json.decode(document, type=type_)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise CommandError(f"{message}: {error}", EXIT_USAGE) from None


MAX_YAML_VALUES = 1_000_000
TOO_MANY_VALUES = f"its aliases stand for more than {MAX_YAML_VALUES} values"
NO_ALIAS = ("alphabetic or numeric character", "undefined alias")
"""What the parser says of a value such as ``* * * * *`` or ``*/5 * * * *``."""
STAR_HINT = "; a value that begins with * needs quotes, such as cron: '* * * * *'"


def read_yaml(file: Path, type_: Any, description: str) -> Any:  # noqa: ANN401 - likewise
    """Decode a YAML 1.2 file, which JSON is too, as ``type_``. Raises CommandError."""
    # It takes a while to import, and only one command needs it.
    from ruamel.yaml import YAML  # noqa: PLC0415 - see above
    from ruamel.yaml.error import YAMLError  # noqa: PLC0415 - likewise

    message = f"{file}: not {description}"
    try:
        content = YAML(typ="safe", pure=True).load(strip_bom(read(file)))
        if _expanded(content, {}) > MAX_YAML_VALUES:
            raise CommandError(f"{message}: {TOO_MANY_VALUES}", EXIT_USAGE)
        return msgspec.convert(msgspec.to_builtins(content), type_)
    except YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = "" if where is None else f" (line {where.line + 1})"
        problem = getattr(error, "problem", None) or str(error)
        hint = STAR_HINT if any(text in problem for text in NO_ALIAS) else ""
        raise CommandError(f"{message}: {problem}{line}{hint}", EXIT_USAGE) from None
    except (msgspec.MsgspecError, TypeError, ValueError, RecursionError) as error:
        raise CommandError(f"{message}: {error}", EXIT_USAGE) from None


def _expanded(content: object, known: dict[int, int]) -> int:
    """Return how many values these are with every alias written out; a few lines can be billions.

    ``known`` are the numbers of lists and maps by id. Raises RecursionError for one in itself.
    """
    if not isinstance(content, dict | list):
        return 1
    if id(content) not in known:
        members = content.values() if isinstance(content, dict) else content
        known[id(content)] = 1 + sum(_expanded(member, known) for member in members)
    return known[id(content)]


def text_or_file(text: str) -> str | bytes:
    """Return the text, or the bytes of the file where it is ``@file``."""
    return read(Path(text[1:])) if text.startswith("@") else text


def write(file: Path, document: bytes, mode: int) -> None:
    """Replace a file atomically, so that no reader sees half of it. Raises CommandError.

    A symbolic link is kept, and its target replaced. The owner is kept, and so is the mode, unless
    the document is private and others could read the file. ``mode`` is that of a new file.
    """
    target = Path(os.path.realpath(file))
    try:
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(descriptor, "wb") as temporary:
                _set_owner_and_mode(target, temporary.fileno(), mode)
                temporary.write(document)
                temporary.flush()
                os.fsync(temporary.fileno())
            Path(name).replace(target)
        except BaseException:
            with suppress(FileNotFoundError):
                Path(name).unlink()
            raise
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}", EXIT_USAGE) from None


def _set_owner_and_mode(target: Path, descriptor: int, mode: int) -> None:
    if not target.exists():
        os.fchmod(descriptor, mode)
        return
    status = target.stat()
    if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
        os.fchown(descriptor, status.st_uid, status.st_gid)
    kept = stat.S_IMODE(status.st_mode)
    exposed = mode == PRIVATE and kept & stat.S_IRWXO
    os.fchmod(descriptor, mode if exposed else kept)

"""Files that people name on the command line: every fault is one line that names the file."""

import os
import stat
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import msgspec

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


def read_json(file: Path, shape: Any, what: str) -> Any:  # noqa: ANN401 - as the shape says
    """Read a file as JSON of the type ``shape``; ``what`` is that in words. Raises CommandError."""
    return parse_json(read(file), shape, f"{file}: not {what}")


def parse_json(document: bytes | str, shape: Any, complaint: str) -> Any:  # noqa: ANN401 - likewise
    """Read JSON of the type ``shape``. Raises CommandError beginning with ``complaint``."""
    try:
        return msgspec.json.decode(document, type=shape)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise CommandError(f"{complaint}: {error}", EXIT_USAGE) from None


def text_or_file(text: str) -> str | bytes:
    """Return what a person typed, or the file's bytes where it is ``@file``."""
    return read(Path(text[1:])) if text.startswith("@") else text


def write(file: Path, document: bytes, mode: int) -> None:
    """Replace a file at once, so that no reader ever sees half of it. Raises CommandError.

    A link stays a link; what it points to is replaced. Owner and mode stay as they are; ``mode`` is
    for a new file.
    """
    target = Path(os.path.realpath(file))
    try:
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(handle, "wb") as fresh:
                _keep(target, fresh.fileno(), mode)
                fresh.write(document)
                fresh.flush()
                os.fsync(fresh.fileno())
            Path(name).replace(target)
        except BaseException:
            with suppress(FileNotFoundError):
                Path(name).unlink()
            raise
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}", EXIT_USAGE) from None


def _keep(target: Path, handle: int, mode: int) -> None:
    if not target.exists():
        os.fchmod(handle, mode)
        return
    status = target.stat()
    if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
        os.fchown(handle, status.st_uid, status.st_gid)
    os.fchmod(handle, stat.S_IMODE(status.st_mode))

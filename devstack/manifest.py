"""Reads the manifest of an extension from its directory."""

from pathlib import Path

import msgspec

from contracts.admin_installs import Manifest
from devstack.errors import StackError

MANIFEST = "manifest.json"


def read_manifest(source: Path) -> Manifest:
    """Return the manifest of an extension. Raises StackError."""
    if not source.exists():
        raise StackError(f"{source} does not exist")
    file = directory_of(source) / MANIFEST
    try:
        return msgspec.json.decode(file.read_bytes(), type=Manifest)
    except OSError as error:
        raise StackError(f"{file}: {error.strerror}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise StackError(f"{file}: {error}") from None


def directory_of(source: Path) -> Path:
    """Return the directory that holds the manifest."""
    return source if source.is_dir() else source.parent

"""Bundles as the platform publishes them: ``bundle.tar.zst`` with ``dist/main.wasm`` in it.

A bundle's content hash is that of the whole file, not of the component.
"""

import shutil
import tarfile
from pathlib import Path

import zstandard

PATTERN = "*.tar.zst"
COMPONENT = "dist/main.wasm"
MAX_COMPONENT_BYTES = 256 * 1024 * 1024


class UnusableBundle(ValueError):
    """Not a compressed archive, or without a component of an acceptable size."""


def extract_component(bundle: Path, target: Path) -> None:
    """Write the component in a bundle to ``target``, atomically.

    Raises:
        UnusableBundle: there is none.
    """
    partial = target.with_suffix(".partial")
    try:
        with (
            bundle.open("rb") as file,
            zstandard.ZstdDecompressor().stream_reader(file) as stream,
            tarfile.open(fileobj=stream, mode="r|") as archive,
        ):
            for member in archive:
                if member.isfile() and member.name.removeprefix("./") == COMPONENT:
                    _write(archive, member, partial)
                    partial.replace(target)
                    return
    except (zstandard.ZstdError, tarfile.TarError, EOFError) as error:
        raise UnusableBundle(f"the bundle cannot be read: {error}") from None
    raise UnusableBundle(f"the bundle has no {COMPONENT}")


def _write(archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    content = archive.extractfile(member)
    if content is None or member.size > MAX_COMPONENT_BYTES:
        raise UnusableBundle(f"{COMPONENT} in the bundle is too large")
    with content, target.open("wb") as file:
        shutil.copyfileobj(content, file)

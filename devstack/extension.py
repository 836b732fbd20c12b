"""The extension that the stack runs: its source, compiled and installed."""

import hashlib
from pathlib import Path

import msgspec
from msgspec import Struct, structs

from contracts.admin_installs import Manifest
from devstack.errors import StackError
from devstack.javascript import PACKAGE, SOURCES, build_package, install_dependencies
from devstack.javascript_sources import install_package_sources, package_entry
from devstack.manifest import MANIFEST, directory_of, read_manifest
from devstack.places import CACHE
from devstack.progress import phase
from runner_bridge.dev_runner.build import (
    BUILD_TIMEOUT_S,
    BuildFailed,
    build_extension,
    source_files,
)
from runner_bridge.dev_runner.components import install as install_component
from runner_bridge.dev_runner.sources import install_sources, runs_from_sources
from service.storage.platform.registry import Registered

PYTHON_SOURCE = "extension.py"
WATCHED = (MANIFEST, "*.py", "*.wasm", "wit/**/*.wit")
COMPILE_TIMEOUT_S = BUILD_TIMEOUT_S
_REVISION_CHARACTERS = 12


class InstalledExtension(Struct, frozen=True):
    """The extension as installed."""

    manifest: Manifest
    content_hash: str
    rows: Registered


def build_source(
    source: Path,
    components: Path,
    timeout_s: float = COMPILE_TIMEOUT_S,
    *,
    from_sources: bool = False,
) -> tuple[Manifest, str]:
    """Compile an extension into ``components``; return its manifest and content hash.

    ``from_sources`` installs the sources of an extension, which run without being compiled, where
    that can be.

    ``source`` is a directory with a manifest and ``extension.py``, a ``package.json`` or one
    ``.wasm`` file, or such a file with a manifest next to it. Raises StackError.
    """
    manifest = read_manifest(source)
    cache = CACHE / "extensions"
    if from_sources and (source / PACKAGE).is_file():
        install_dependencies(source, timeout_s)
    if from_sources and (entry := package_entry(source)):
        return manifest, install_package_sources(source, entry, components, cache, timeout_s)
    if not (from_sources and runs_from_sources(source)):
        return manifest, install_component(_component(source, timeout_s), components)
    try:
        with phase("compiling the interpreter, once for all extensions that import no more"):
            return manifest, install_sources(source, components, cache, timeout_s)
    except BuildFailed as failure:
        raise StackError(str(failure)) from None


def _component(source: Path, timeout_s: float) -> Path:
    if source.is_file():
        return source
    if (source / PYTHON_SOURCE).is_file():
        try:
            with phase("compiling with componentize-py"):
                return build_extension(source, CACHE / "extensions", timeout_s)
        except BuildFailed as failure:
            raise StackError(str(failure)) from None
    if (source / PACKAGE).is_file():
        return build_package(source, CACHE / "extensions", timeout_s)
    ready = sorted(source.glob("*.wasm"))
    if len(ready) != 1:
        raise StackError(f"{source} needs {PYTHON_SOURCE}, {PACKAGE} or exactly one .wasm file")
    return ready[0]


def fingerprint(source: Path) -> frozenset[tuple[str, int, int]]:
    """Return name, time of change and size of every file that the component depends on."""
    directory = directory_of(source)
    # What the build of a package writes must not be taken for a change.
    patterns = SOURCES if source.is_dir() and (source / PACKAGE).is_file() else WATCHED
    return frozenset(_stat(path) for path in source_files(directory, patterns))


def _stat(path: Path) -> tuple[str, int, int]:
    try:
        status = path.stat()
    except FileNotFoundError:  # an editor replaces files
        return str(path), 0, 0
    return str(path), status.st_mtime_ns, status.st_size


def development_version(manifest: Manifest, content_hash: str) -> Manifest:
    """Return the manifest under a version of its own: a registered version never changes."""
    text = msgspec.json.encode(manifest) + content_hash.encode()
    revision = hashlib.sha256(text).hexdigest()[:_REVISION_CHARACTERS]
    return structs.replace(manifest, version=f"{manifest.version}+dev.{revision}")

"""The available components, compiled on demand: files ``<sha256 in hex>.wasm``, and bundles."""

import asyncio
import hashlib
import importlib.metadata
import logging
import os
import platform
import re
import shutil
import sys
import tempfile
from pathlib import Path

import msgspec
from msgspec import Struct

from contracts.shared.cancellation import cancel_and_wait
from runner_bridge.dev_runner.bundles import PATTERN, UnusableBundle, extract_component

log = logging.getLogger(__name__)

HASH_PREFIX = "sha256:"
COMPILE_TIMEOUT_S = 120.0
_CONTENT_HASH = re.compile(r"sha256:[0-9a-f]{64}")


class UnknownComponent(LookupError):
    """No component has this content hash."""


class UnusableComponent(ValueError):
    """The file is not what its name says, or no component that can be compiled."""


def content_hash(component: Path) -> str:
    """Return ``sha256:`` and the hex digest of the file."""
    with component.open("rb") as file:
        return HASH_PREFIX + hashlib.file_digest(file, "sha256").hexdigest()


def install(component: Path, directory: Path) -> str:
    """Copy a component into a directory of components; return its content hash."""
    name = content_hash(component)
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=directory, delete=False) as partial:
        shutil.copyfile(component, partial.name)
    Path(partial.name).replace(directory / f"{name.removeprefix(HASH_PREFIX)}.wasm")
    return name


class ExtensionSources(Struct, frozen=True):
    """What an interpreter runs, and the interpreter's content hash.

    ``modules`` are those of a Python extension by name (see ``sources.py``), or the ``script`` and
    source ``map`` of one in JavaScript. Its file is named ``<sha256 in hex>.sources.json``.
    """

    interpreter: str
    modules: dict[str, str]


def sources_file(directory: Path, name: str) -> Path:
    """Return the file of an extension's sources, by its content hash."""
    return directory / f"{name.removeprefix(HASH_PREFIX)}.sources.json"


class Components:
    """Finds components by content hash and compiles each once per wasmtime release.

    The compiled files are machine code that is loaded without further checks, so ``cache`` must
    belong to the same user as the Runner; it is created for that user alone.
    """

    def __init__(
        self,
        directory: Path | None,
        cache: Path,
        bundles: Path | None = None,
        compile_timeout_s: float = COMPILE_TIMEOUT_S,
    ) -> None:
        release = importlib.metadata.version("wasmtime")
        self._directory = directory
        self._bundles = bundles
        self._compile_timeout_s = compile_timeout_s
        self._cache = cache / f"wasmtime-{release}-{platform.machine()}-1"
        self._cache.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._preparing: dict[str, asyncio.Task[Path]] = {}
        self._compiler = asyncio.Semaphore(1)

    def hashes(self) -> list[str]:
        """Return the content hashes in the names of component files, and those of bundles."""
        files = sorted(self._directory.glob("*.wasm")) if self._directory else []
        names = (HASH_PREFIX + path.stem for path in files)
        known = [name for name in names if _CONTENT_HASH.fullmatch(name)]
        return known + [content_hash(path) for path in self._bundle_files()]

    def _bundle_files(self) -> list[Path]:
        return sorted(self._bundles.glob(PATTERN)) if self._bundles else []

    async def compiled(self, name: str) -> Path:
        """Return the path of the compiled component with this content hash.

        Raises:
            UnknownComponent: there is none.
            UnusableComponent: its content has another hash, or does not compile.
        """
        if name not in self._preparing:
            self._preparing[name] = asyncio.create_task(self._prepare(name))
        task = self._preparing[name]
        try:
            # The timeout of one caller must not cancel what others wait for.
            return await asyncio.shield(task)
        finally:
            if task.done() and (task.cancelled() or task.exception()):
                self._preparing.pop(name, None)

    async def compile_all(self) -> None:
        """Compile every component, so that no call has to wait for it; log unusable ones."""
        for name in self.hashes():
            try:
                await self.compiled(name)
            except UnusableComponent as error:
                log.warning(
                    "component is unusable",
                    extra={"fields": {"content_hash": name, "reason": str(error)}},
                )

    async def close(self) -> None:
        """Cancel compilations in flight."""
        await cancel_and_wait(self._preparing.values())

    async def _prepare(self, name: str) -> Path:
        if not _CONTENT_HASH.fullmatch(name):
            raise UnknownComponent(name)
        sources = await asyncio.to_thread(self.sources, name)
        if sources is not None:
            return await self.compiled(sources.interpreter)
        source = await asyncio.to_thread(self._source, name)
        target = self._cache / f"{source.stem}.cwasm"
        async with self._compiler:
            if not target.is_file():
                await _compile(source, target, self._compile_timeout_s)
        return target

    def sources(self, name: str) -> ExtensionSources | None:
        """Return an extension's sources; None for what is a component itself.

        Raises:
            UnusableComponent: its content has another hash, or no modules.
        """
        file = sources_file(self._directory, name) if self._directory else None
        if file is None or not file.is_file():
            return None
        if content_hash(file) != name:
            raise UnusableComponent("the file's content does not have this hash")
        try:
            return msgspec.json.decode(file.read_bytes(), type=ExtensionSources)
        except msgspec.MsgspecError as error:
            raise UnusableComponent(str(error)) from None

    def _source(self, name: str) -> Path:
        """Return the file of a component, taken out of its bundle where it is in one."""
        digest = name.removeprefix(HASH_PREFIX)
        file = self._directory / f"{digest}.wasm" if self._directory else None
        if file is not None and file.is_file():
            if content_hash(file) != name:
                raise UnusableComponent("the file's content does not have this hash")
            return file
        bundle = next((path for path in self._bundle_files() if content_hash(path) == name), None)
        if bundle is None:
            raise UnknownComponent(name)
        extracted = self._cache / f"{digest}.wasm"
        try:
            extract_component(bundle, extracted)
        except UnusableBundle as error:
            raise UnusableComponent(str(error)) from None
        return extracted


async def _compile(source: Path, target: Path, timeout_s: float) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        "-m",
        "runner_bridge.dev_runner.precompile",
        str(source),
        str(target),
        stdin=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": os.defpath},
    )
    try:
        async with asyncio.timeout(timeout_s):
            _, stderr = await process.communicate()
    except TimeoutError:
        raise UnusableComponent(f"compiling took more than {timeout_s:g} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        reason = stderr.decode(errors="replace").strip().splitlines()
        raise UnusableComponent(reason[0][:600] if reason else "it cannot be compiled")

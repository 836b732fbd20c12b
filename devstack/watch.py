"""Keeps the install of a running stack at the state of its sources."""

import asyncio
import time
from pathlib import Path

from msgspec import structs

from contracts.admin_installs import RegisterInstallInput
from devstack import state as state_file
from devstack.administration import administration, move_install
from devstack.errors import StackError
from devstack.extension import (
    COMPILE_TIMEOUT_S,
    InstalledExtension,
    build_source,
    development_version,
    fingerprint,
)
from devstack.extension_calls import loading_problem
from devstack.manifest import manifest_hints
from devstack.places import COMPILED_CACHE
from devstack.progress import detail, phase, step
from devstack.stack import TENANT, DevStack
from devstack.state import DevState
from runner_bridge.dev_runner.components import Components, UnusableComponent, sources_file

POLL_INTERVAL_S = 0.2


async def watch(stack: DevStack, source: Path, compile_timeout_s: float) -> None:
    """Install each change of ``source``, until cancelled; print why where that fails."""
    state = stack.state
    loading = any(running.program.name == "dev-runner" for running in stack.programs)
    seen = fingerprint(source)
    try:
        await check_loading(state, source, state.extension, loading=loading)
    except StackError as failure:
        step("The extension is installed, but it cannot be loaded:")
        detail(str(failure))
    while True:
        await asyncio.sleep(POLL_INTERVAL_S)
        current = fingerprint(source)
        if current == seen:
            continue
        seen = current
        step(f"{source} has changed.")
        try:
            state = await update(state, source, compile_timeout_s, loading=loading)
        except (StackError, OSError) as failure:  # files may go away at any time
            detail(f"{failure}\nThe install remains as it was.")


async def update(
    state: DevState,
    source: Path,
    compile_timeout_s: float = COMPILE_TIMEOUT_S,
    *,
    loading: bool = False,
) -> DevState:
    """Compile ``source``, register it as a new version, and update the install to it.

    The install keeps its id and its schedules; those whose endpoint is missing are disabled.
    ``loading`` is whether a Runner is there to load it first. Raises StackError.
    """
    began = time.monotonic()
    components = Path(state.home) / "components"
    manifest, content_hash = await asyncio.to_thread(
        build_source, source, components, compile_timeout_s, from_sources=True
    )
    for hint in manifest_hints(source):
        detail(hint)
    running = state.extension
    if (manifest.publisher, manifest.name) != (running.manifest.publisher, running.manifest.name):
        raise StackError("publisher or name has changed, which makes it another extension")
    if content_hash != running.content_hash:
        await prepare(components, content_hash, compile_timeout_s)
    candidate = InstalledExtension(manifest, content_hash, running.rows)
    await check_loading(state, source, candidate, loading=loading)
    version = development_version(manifest, content_hash)
    async with administration(state) as call:
        registered = await call(
            "registerInstall",
            RegisterInstallInput(
                tenant_id=TENANT,
                manifest=version,
                content_hash=content_hash,
                grants=manifest.capabilities,
            ),
        )
        await move_install(call, running.rows.install_id, version.version)
    rows = structs.replace(running.rows, version_id=registered.version_id)
    state = structs.replace(state, extension=structs.replace(candidate, rows=rows))
    state_file.write(state)
    detail(f"installed as {version.version}, {time.monotonic() - began:.1f} s after the change")
    return state


async def check_loading(
    state: DevState, source: Path, extension: InstalledExtension, *, loading: bool
) -> None:
    """Load an extension that runs from its sources. Raises StackError where that fails."""
    components = Path(state.home) / "components"
    if not loading or not sources_file(components, extension.content_hash).is_file():
        return
    problem = await loading_problem(state.runner_url, extension, source)
    if problem is not None:
        raise StackError(problem)


async def prepare(directory: Path, content_hash: str, compile_timeout_s: float) -> None:
    """Compile a component to machine code, where the Runner will find it. Raises StackError."""
    components = Components(directory, COMPILED_CACHE, compile_timeout_s=compile_timeout_s)
    try:
        with phase("compiling to machine code"):
            await components.compiled(content_hash)
    except UnusableComponent as error:
        raise StackError(f"the component is unusable: {error}") from None
    finally:
        await components.close()

"""Building extensions: once for each state of their sources, whichever process asks."""

import asyncio
import shutil
import sys
from pathlib import Path

import pytest

from runner_bridge.dev_runner.build import WIT, BuildFailed, build_extension
from runner_bridge.dev_runner.components import Components, UnusableComponent, install
from tests.support.running_extensions import BARE

# Compilers take as long as they take, on however busy a machine.
pytestmark = pytest.mark.timeout(300)

SCRIPT = """
import sys
from pathlib import Path
from runner_bridge.dev_runner.build import build_extension
print(build_extension(Path(sys.argv[1]), Path(sys.argv[2])))
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    shutil.copytree(BARE, tmp_path / "bare")
    return tmp_path / "bare"


async def build_elsewhere(source: Path, cache: Path) -> Path:
    """Build in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SCRIPT, str(source), str(cache), stdout=asyncio.subprocess.PIPE
    )
    stdout, _ = await process.communicate()
    assert process.returncode == 0
    return Path(stdout.decode().strip())


async def test_two_processes_that_build_at_once_build_one_component(
    source: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    one, other = await asyncio.gather(*(build_elsewhere(source, cache) for _ in range(2)))
    assert one == other
    assert [path.name for path in cache.glob("*.wasm")] == [one.name]
    built = one.stat().st_mtime_ns
    assert build_extension(source, cache) == one
    assert one.stat().st_mtime_ns == built
    # A lock and the component: nothing half-done stays.
    assert len(list(cache.iterdir())) == 2


@pytest.mark.parametrize(
    ("change", "cause"),
    [("extension.py", r"extension\.py:\d+: unmatched '\)'"), ("wit/world.wit", "bare: ")],
)
def test_a_failed_build_reports_the_cause_and_leaves_no_component(
    source: Path, tmp_path: Path, change: str, cause: str
) -> None:
    with (source / change).open("a") as file:
        file.write("\n)\n")
    with pytest.raises(BuildFailed, match=cause):
        build_extension(source, tmp_path / "cache")
    assert list((tmp_path / "cache").glob("*.wasm")) == []


def test_the_interface_is_part_of_the_package() -> None:
    assert [path.name for path in WIT.iterdir()] == ["extension.wit"]


def test_a_compiler_that_takes_too_long_is_ended(source: Path, tmp_path: Path) -> None:
    with pytest.raises(BuildFailed, match=r"^bare: compiling took longer than 0\.01 s$"):
        build_extension(source, tmp_path / "cache", timeout_s=0.01)
    assert list((tmp_path / "cache").glob("*.wasm")) == []


async def test_the_runners_compiling_has_a_limit_too(tmp_path: Path) -> None:
    name = install(build_extension(BARE), tmp_path / "components")
    components = Components(tmp_path / "components", tmp_path / "cache", compile_timeout_s=0.01)
    with pytest.raises(UnusableComponent, match=r"^compiling took more than 0\.01 s$"):
        await components.compiled(name)
    await components.close()

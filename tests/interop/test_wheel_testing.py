"""The test kit from the wheel: an extension is tested in an environment that has nothing else."""

import re
import shutil
from pathlib import Path

import pytest

from devstack.new import write_extension
from tests.support.sources import ROOT
from tests.support.wheel import PIP, fresh_environment, run

pytestmark = pytest.mark.timeout(300)

ABSENT = ("typer", "asyncpg", "aiohttp", "pgqueuer", "wasmtime", "componentize-py")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of an environment with the extra ``testing`` alone."""
    directory = tmp_path_factory.mktemp("testing")
    fresh_environment(directory, "testing")
    write_extension(directory / "reports")
    shutil.copytree(ROOT / "examples" / "scheduler_demo", directory / "demo")
    return directory


def python(environment: Path, *words: str) -> str:
    return run(environment / "env" / "bin" / "python", *words, directory=environment)


def test_nothing_of_the_service_or_the_compiler_is_installed(environment: Path) -> None:
    listed = python(environment, *PIP, "list", "--format", "freeze").lower()
    assert "croniter==" in listed
    assert [name for name in ABSENT if f"{name}==" in listed] == []


def test_the_example_of_the_guide_runs(environment: Path) -> None:
    guide = (ROOT / "docs" / "extension-guide.md").read_text()
    [example] = re.findall(r"^```python test-kit\n(.*?)^```$", guide, re.DOTALL | re.MULTILINE)
    python(environment, "-c", example)


@pytest.mark.parametrize("name", ["reports", "demo"])
def test_an_extensions_own_tests_pass(environment: Path, name: str) -> None:
    shown = python(environment, "-m", "unittest", "discover", f"{name}/tests")
    assert re.search(r"^Ran \d+ tests? in .*\n\nOK$", shown, re.MULTILINE), shown


def test_the_kit_for_javascript_is_in_the_wheel(environment: Path) -> None:
    program = "from devstack.places import shipped_files; print(shipped_files() / 'npm/testing')"
    kit = python(environment, "-c", program).strip()
    assert Path(kit).is_relative_to(environment)
    project = environment / "javascript"
    shutil.copytree(ROOT / "tests" / "interop" / "npm_testing" / "probe", project / "probe")
    shutil.copy(ROOT / "tests" / "interop" / "npm_testing" / "host.test.js", project)
    (project / "package.json").write_text('{"private": true, "type": "module"}')
    run("npm", "install", "--save-dev", kit, directory=project)
    assert "# fail 0" in run("node", "--test", "host.test.js", directory=project)


def test_the_vectors_of_the_conformance_kit_are_in_the_wheel(environment: Path) -> None:
    program = (
        "from devstack.conformance import vectors;"
        "print(sorted(file.name for file in vectors.DIRECTORY.iterdir()))"
    )
    assert "'tokens.json'" in python(environment, "-c", program)

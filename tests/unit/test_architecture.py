"""The shape of the code: import arrows, a home for each library, nothing unfinished.

Every check is tried on a planted violation, so that none can pass by looking at nothing.
"""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support.public_names import doubly_defined
from tests.support.sources import (
    ROOT,
    Rule,
    Source,
    empty_names,
    is_python,
    machine_bound,
    sources,
    strangers,
    too_long,
    unexplained,
    unfinished,
    verbless,
)

PYTHON_RULES: list[Rule] = [strangers, unexplained, too_long, empty_names, verbless]
TEXT_RULES: list[Rule] = [unfinished, machine_bound]
PACKAGES = ("console", "contracts", "devstack", "runner_bridge", "service")


@pytest.mark.parametrize("rule", PYTHON_RULES, ids=lambda rule: rule.__name__)
def test_every_module_keeps_the_rule(rule: Rule) -> None:
    modules = [source for source in sources() if is_python(source)]
    assert len(modules) > 50
    assert [complaint for module in modules for complaint in rule(module)] == []


@pytest.mark.parametrize("rule", TEXT_RULES, ids=lambda rule: rule.__name__)
def test_every_file_keeps_the_rule(rule: Rule) -> None:
    assert [complaint for source in sources() for complaint in rule(source)] == []


@pytest.mark.parametrize(
    ("rule", "path", "text"),
    [
        (strangers, "service/requests/responder.py", "import croniter"),
        (strangers, "service/operations/schedules.py", "from pgqueuer.queries import Queries"),
        (strangers, "service/worker/planner.py", "def f():\n    import nats.aio.client"),
        (strangers, "service/rules/cron.py", "import asyncpg"),
        (strangers, "contracts/events.py", "from prometheus_client import Counter"),
        (unfinished, "service/app.py", "# TO" + "DO: later"),
        (unfinished, "service/app.py", "raise Not" + "ImplementedError"),
        (unfinished, "tests/unit/test_x.py", "@pytest.mark.sk" + "ip(reason='slow')"),
        (unfinished, "tests/unit/test_x.py", "from unittest" + ".mock import patch"),
        (machine_bound, "docs/start.md", "cd /wo" + "rk/scheduler"),
        (machine_bound, "Makefile", "pip install -i https://pypi." + "org/simple"),
        (unexplained, "service/app.py", "x = f()  # no" + "qa: S608"),
        (unexplained, "service/app.py", "x = f()  # no" + "qa"),
        (unexplained, "service/app.py", "x = f()  # type: " + "ignore[arg-type]"),
        (too_long, "service/app.py", "x = 1\n" * 301),
        (empty_names, "service/app.py", "class Schedule" + "Manager: ..."),
        (verbless, "service/app.py", 'def size() -> int:\n    """The size of it."""'),
    ],
)
def test_a_planted_violation_is_reported(rule: Rule, path: str, text: str) -> None:
    assert rule(Source(path, text))


@pytest.mark.parametrize(
    ("rule", "path", "text"),
    [
        (strangers, "service/rules/cron.py", "from croniter import croniter"),
        (strangers, "tests/unit/test_cron.py", "import croniter"),
        (machine_bound, "README.md", "see https://example.org/work/here and ./home/x"),
        (
            unexplained,
            "a.py",
            "x = f()  # no" + "qa: S608 - the names are constants of this module",
        ),
        (unexplained, "a.py", "x = f()  # type: " + "ignore[arg-type]  # the stubs lack None"),
        (too_long, "service/app.py", "x = 1\n" * 300),
        (verbless, "service/app.py", 'def size() -> int:\n    """Return the size of it."""'),
    ],
)
def test_correct_code_is_not_reported(rule: Rule, path: str, text: str) -> None:
    assert rule(Source(path, text)) == []


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("class Run: ...", "class Run(Struct): ..."),
        ("class Run: ...", "Run: TypeAlias = int"),
        ("class Run: ...", 'Run = NewType("Run", int)'),
        ("Run = Callable[[], None]", "Run = dict[str, int] | None"),
        ("Run = int | str", 'Run = Literal["a"]'),
    ],
)
def test_a_planted_name_of_two_types_is_reported(first: str, second: str) -> None:
    modules = [Source("service/a.py", first), Source("service/b.py", f"\n{second}")]
    assert doubly_defined(modules) == ["Run: service/a.py:1, service/b.py:2"]


@pytest.mark.parametrize(
    "text", ["class _Run: ...", "Run = 1", "Run = FLAG | MASK", "def f():\n    class Run: ..."]
)
def test_a_name_that_is_private_or_no_type_may_be_used_again(text: str) -> None:
    assert doubly_defined([Source("service/a.py", text), Source("service/b.py", text)]) == []


def test_every_public_type_has_a_name_of_its_own() -> None:
    modules = [
        source
        for source in sources()
        if is_python(source)
        and source.path.partition("/")[0] in (*PACKAGES, "bench", "model")
        # Named by the compiler, for extensions alone.
        and source.path != "devstack/testing/wit_types.py"
    ]
    assert len(modules) > 100
    assert doubly_defined(modules) == []


def test_every_required_library_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    asked = [text for group in groups for text in group]
    names = {normalized(re.split(r"[\[<>=!~; ]", text)[0]) for text in asked} - {"ext-scheduler"}
    pins = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {normalized(line.partition("==")[0]) for line in pins if "==" in line}
    assert len(names) > 20
    assert names - pinned == set()


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def arrows(tree: Path) -> subprocess.CompletedProcess[str]:
    """Return what import-linter says about the packages in ``tree``."""
    program = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())"
    return subprocess.run(
        [sys.executable, "-c", program], cwd=tree, capture_output=True, text=True, check=False
    )


@pytest.fixture
def copied_tree(tmp_path: Path) -> Path:
    """Return a copy of the packages, to plant violations in."""
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_import_arrows_hold() -> None:
    verdict = arrows(ROOT)
    assert verdict.returncode == 0, verdict.stdout


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("contracts/errors.py", "import service.messages"),
        ("contracts/errors.py", "import runner_bridge"),
        ("contracts/errors.py", "import nats"),
        ("runner_bridge/__init__.py", "import service.messages"),
        ("console/__init__.py", "import service.messages"),
        ("console/__init__.py", "import runner_bridge"),
        ("console/__init__.py", "import nats"),
        ("service/app.py", "import console"),
        ("service/requests/dispatcher.py", "import runner_bridge"),
        ("service/rules/cron.py", "import service.storage"),
        ("service/storage/platform/installs.py", "import service.operations"),
        ("service/requests/dispatcher.py", "import service.requests.responder"),
        ("service/app.py", "import devstack"),
        ("service/operations/__init__.py", "import service.requests"),
        ("service/a_module_without_a_place.py", ""),
    ],
)
def test_a_planted_wrong_import_is_reported(copied_tree: Path, module: str, line: str) -> None:
    with (copied_tree / module).open("a") as planted:
        planted.write(f"\n{line}\n")
    verdict = arrows(copied_tree)
    assert verdict.returncode == 1, verdict.stdout + verdict.stderr
    assert "BROKEN" in verdict.stdout or "a_module_without_a_place" in verdict.stdout

"""Recipes of CONTRIBUTING.md: complete, and a forgotten file is named in words."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.recipe_steps import HOST_OPERATION, RECIPES, SCHEDULE_FIELD, SETTING
from tests.support.recipes import (
    ROOT,
    Recipe,
    Step,
    complaints,
    forgotten,
    matches,
    permitted,
)
from tests.support.sql_places import misplaced_sql

GUIDE = (ROOT / "CONTRIBUTING.md").read_text()
STEPS = [
    pytest.param(recipe, step, id=f"{recipe.kind}-{step.path}")
    for recipe in RECIPES
    for step in recipe.steps
    if step.path != recipe.source and "**" not in step.path
]


@pytest.fixture
def copied_tree(tmp_path: Path) -> Path:
    """Return a copy of the files that recipes touch, to forget something in."""
    for recipe in RECIPES:
        for step in recipe.steps:
            for path in ROOT.glob(step.path):
                copy = tmp_path / path.relative_to(ROOT)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, copy)
    return tmp_path


def add(tree: Path, path: str, before: str, added: str) -> None:
    text = (tree / path).read_text()
    assert before in text
    (tree / path).write_text(text.replace(before, added + before, 1))


def test_every_addition_is_complete() -> None:
    assert list(complaints()) == []


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.kind)
def test_a_recipe_knows_the_additions_that_exist(recipe: Recipe) -> None:
    assert len(recipe.names((ROOT / recipe.source).read_text())) >= 6


@pytest.mark.parametrize(("recipe", "step"), STEPS)
def test_an_emptied_file_is_named(recipe: Recipe, step: Step, copied_tree: Path) -> None:
    for path in copied_tree.glob(step.path):
        path.write_text("")
    assert any(line.startswith(f"{step.path}: ") for line in forgotten(recipe, copied_tree))


def test_a_host_operation_alone_lacks_every_other_file(copied_tree: Path) -> None:
    row = '        "planted": Operation(ListInput, ListOutput, mutates=False),\n'
    add(copied_tree, "contracts/schedules.py", '        "getEndpoints": Operation(', row)
    lines = forgotten(HOST_OPERATION, copied_tree)
    assert [line.partition(":")[0] for line in lines] == [
        step.path for step in HOST_OPERATION.steps if step.path != HOST_OPERATION.source
    ]
    assert all("host operation `planted` lacks " in line for line in lines)


def test_a_schedule_field_alone_lacks_every_other_file(copied_tree: Path) -> None:
    field = "    labels: list[str] | None = None\n"
    before = "\n\nclass CreateOutput"
    add(copied_tree, "contracts/schedules.py", before, field)
    lines = forgotten(SCHEDULE_FIELD, copied_tree)
    assert [line.partition(":")[0] for line in lines] == [
        step.path for step in SCHEDULE_FIELD.steps
    ]


def test_a_setting_that_nothing_reads_is_named(copied_tree: Path) -> None:
    add(copied_tree, SETTING.source, "    pool_size: int", "    fathoms: int = 3\n")
    assert [line.partition(":")[0] for line in forgotten(SETTING, copied_tree)] == [
        "docs/operations.md",
        "service/**/*.py",
    ]


@pytest.mark.parametrize(
    ("user", "line"),
    [
        ("service", '              "ext.scheduler.get ext-scheduler"\n'),
        ("runner", '              "ext.scheduler.get"\n'),
    ],
)
def test_a_missing_permission_is_named(copied_tree: Path, user: str, line: str) -> None:
    text = (copied_tree / "nats.conf").read_text()
    assert text.count(line) == 1
    (copied_tree / "nats.conf").write_text(text.replace(line, ""))
    [complaint] = forgotten(HOST_OPERATION, copied_tree)
    assert complaint.startswith("nats.conf: host operation `get` lacks its permissions: ")
    assert user in complaint


@pytest.mark.parametrize(
    ("entry", "covers"),
    [
        ("ext.scheduler.list ext-scheduler", True),
        ("ext.scheduler.* ext-scheduler", True),
        ("ext.> ext-scheduler", True),
        ("ext.scheduler.list", False),
        ("ext.scheduler.lists ext-scheduler", False),
        ("ext.* ext-scheduler", False),
    ],
)
def test_a_permission_covers_what_the_server_would_let_through(entry: str, covers: bool) -> None:
    assert matches(entry, "ext.scheduler.list ext-scheduler") is covers


def test_a_permission_of_another_user_does_not_count() -> None:
    text = 'user: runner, publish: { allow: ["a"] } user: service, publish: { allow: ["b"] }'
    assert permitted("service", "publish", "NAME")(text, "b")
    assert not permitted("service", "publish", "NAME")(text, "a")


@pytest.mark.parametrize(
    ("path", "text", "line"),
    [
        ("service/worker/planner.py", 'STOP = "DELETE FROM ext_scheduler.timers"', 1),
        ("service/storage/runs/queue.py", 'def f():\n    return "SELECT a FROM b"', 2),
        ("runner_bridge/client.py", 'x = f"""UPDATE {t}\n SET a = 1"""', 1),
        ("contracts/admin.py", 'x = "WITH a AS (SELECT 1) SELECT"', 1),
        ("service/storage/runs/queue.py", 'COUNT = "SELECT count(*) FROM b"', None),
        ("service/app.py", '"""Select the timers from the database."""', None),
    ],
)
def test_sql_outside_the_constants_of_storage_is_named(
    tmp_path: Path, path: str, text: str, line: int | None
) -> None:
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).write_text(text)
    found = [complaint.partition(": ")[0] for complaint in misplaced_sql(tmp_path)]
    assert found == ([] if line is None else [f"{path}:{line}"])


def test_the_guide_lists_the_files_of_each_recipe_in_order() -> None:
    assert "\n### A SQL statement\n" in GUIDE
    for recipe in RECIPES:
        article = "An" if recipe.kind[0] in "aeiou" else "A"
        section = GUIDE.split(f"\n### {article} {recipe.kind}\n")[1].split("\n### ")[0]
        listed = re.findall(r"^\d+\. `([^`]+)`", section, re.MULTILINE)
        assert listed == [step.path for step in recipe.steps], recipe.kind


def test_make_check_runs_the_recipes_and_prints_what_is_forgotten() -> None:
    command = "python -m tests.support.recipes"
    assert f"$(BIN)/{command}" in (ROOT / "Makefile").read_text().split("check: venv")[1]
    done = subprocess.run(
        [sys.executable, *command.split()[1:]],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")

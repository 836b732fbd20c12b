"""The npm test kit: what is generated, its rules against the service's, and its fake host."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.npm_packages import CACHE, NPM, installed, run
from tests.support.rule_vectors import rule_vectors
from tests.support.sources import ROOT

SOURCE = Path(__file__).parent / "npm_testing"
SEEDS = (20261129, 7)

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def program() -> Path:
    """Return a package with the kit, and with the example in TypeScript, compiled."""
    user = installed("testing", SOURCE)
    report = user / "report"
    ignored = shutil.ignore_patterns("node_modules", "build")
    example = ROOT / "examples" / "typescript-report"
    shutil.copytree(example, report, dirs_exist_ok=True, ignore=ignored)
    run("npx", "tsc", "-p", "report", directory=user)
    return user


def test_what_is_committed_is_what_compiles(program: Path) -> None:
    committed, compiled = NPM / "testing" / "lib", CACHE / "testing" / "lib"
    names = sorted(file.relative_to(compiled) for file in compiled.rglob("*.*"))
    assert names == sorted(file.relative_to(committed) for file in committed.rglob("*.*"))
    for name in names:
        assert (committed / name).read_text() == (compiled / name).read_text(), "make npm"


def compared(program: Path, directory: Path, vectors: dict[str, Any]) -> dict[str, Any]:
    file = directory / "vectors.json"
    file.write_text(json.dumps(vectors))
    comparison: dict[str, Any] = json.loads(run("node", "agree.js", str(file), directory=program))
    return comparison


@pytest.mark.parametrize("seed", SEEDS)
def test_the_rules_agree_with_the_services(program: Path, tmp_path: Path, seed: int) -> None:
    comparison = compared(program, tmp_path, rule_vectors(seed, 400))
    assert comparison["differences"] == []
    assert comparison["tried"] > 4_000


def test_a_difference_is_seen(program: Path, tmp_path: Path) -> None:
    vectors = rule_vectors(1, 20)
    vectors["slots"][0]["next"][1] += 60_000
    vectors["payloads"][0]["back"] = "{}"
    vectors["scenarios"][0]["steps"][0]["result"] = {"success": True, "error": "none"}
    comparison = compared(program, tmp_path, vectors)
    assert comparison["count"] == 3


def test_the_fake_host_does_what_its_tests_say(program: Path) -> None:
    assert "# fail 0" in run("node", "--test", "host.test.js", directory=program)


def test_the_example_in_typescript_runs_under_the_rules(program: Path) -> None:
    assert "# pass 1" in run("node", "--test", "report.test.js", directory=program)


def test_the_types_compile_and_catch_mistakes(program: Path) -> None:
    options = ("--strict", "--noEmit", "--module", "nodenext", "--target", "es2022")
    run("npx", "tsc", *options, "--types", "node", "typed.ts", directory=program)

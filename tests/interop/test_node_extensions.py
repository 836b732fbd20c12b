"""The examples in JavaScript and TypeScript: checked, tested, compiled and called."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from devstack.errors import StackError
from devstack.javascript import build_package, install_dependencies
from runner_bridge.dev_runner.build import locked
from runner_bridge.dev_runner.components import install
from tests.support.running_extensions import ROOT, development_runner, json_of
from tests.support.scheduling import MemoryScheduler

CACHE = ROOT / ".cache" / "node_extensions"
MISTAKES = {
    "javascript": ("extension.js", "export function handler(", "export function handler((("),
    "typescript": ("extension.ts", "cron: CRON", "crown: CRON"),
}
MESSAGES = {"javascript": "SyntaxError", "typescript": "'crown' does not exist"}

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(params=["javascript", "typescript"])
def package(request: pytest.FixtureRequest) -> Path:
    """Return a copy of an example, beside the cache and not in the tree, with its packages."""
    name = f"{request.param}-report"
    target = CACHE / name
    CACHE.mkdir(parents=True, exist_ok=True)
    with locked(CACHE / "lock"):
        shutil.copytree(ROOT / "examples" / name, target, dirs_exist_ok=True)
    return target


def own_tests(package: Path) -> str:
    done = subprocess.run(["npm", "test"], cwd=package, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    return done.stdout


async def test_an_example_is_compiled_and_schedules_itself(package: Path, tmp_path: Path) -> None:
    component = build_package(package, CACHE / "built", timeout_s=500)
    assert build_package(package, CACHE / "built", timeout_s=500) == component
    assert "# pass 5" in own_tests(package)
    scheduler = MemoryScheduler()
    async with development_runner(tmp_path, scheduler) as runner:
        guest = install(component, runner.components)
        created = await runner.execute(guest, "/api/setup", method="POST")
        assert json_of(created) == {"created": True}
        body = json.dumps({"month": 3}).encode()
        report = await runner.execute(guest, "/api/report", method="POST", body=body)
        assert json_of(report) == {"report": {"month": 3}, "for": "now"}
    assert [schedule.name for schedule in scheduler.schedules] == ["report"]


async def test_a_build_bundles_modules_and_packages(package: Path, tmp_path: Path) -> None:
    install_dependencies(package, timeout_s=500)
    several = tmp_path / package.name
    shutil.copytree(package, several, ignore=shutil.ignore_patterns("node_modules", "build"))
    (several / "node_modules").symlink_to(package / "node_modules")
    [source] = several.glob("extension.[jt]s")
    lines = source.read_text().splitlines(keepends=True)
    lines[lines.index('const CRON = "*/5 * * * *";\n')] = 'import { CRON } from "./cron.js";\n'
    source.write_text("".join(lines))
    (several / f"cron{source.suffix}").write_text('export { CRON } from "report-cron";\n')
    dependency = tmp_path / "node_modules" / "report-cron"
    dependency.mkdir(parents=True)
    (dependency / "package.json").write_text('{"type": "module", "exports": "./index.js"}')
    (dependency / "index.js").write_text('export const CRON = "7 3 * * *";\n')
    (dependency / "index.d.ts").write_text("export declare const CRON: string;\n")
    component = build_package(several, tmp_path / "built", timeout_s=500)
    scheduler = MemoryScheduler()
    async with development_runner(tmp_path, scheduler) as runner:
        guest = install(component, runner.components)
        created = await runner.execute(guest, "/api/setup", method="POST")
    assert json_of(created) == {"created": True}
    assert [schedule.cron for schedule in scheduler.schedules] == ["7 3 * * *"]


def test_a_mistake_is_named_with_its_file_and_without_insides(
    package: Path, tmp_path: Path
) -> None:
    build_package(package, CACHE / "built", timeout_s=500)
    language = package.name.partition("-")[0]
    file, correct, wrong = MISTAKES[language]
    source = package / file
    text = source.read_text()
    source.write_text(text.replace(correct, wrong))
    try:
        with pytest.raises(StackError) as failure:
            build_package(package, tmp_path, timeout_s=500)
    finally:
        source.write_text(text)
    assert MESSAGES[language] in str(failure.value)
    assert file in str(failure.value)
    assert "node:internal" not in str(failure.value)

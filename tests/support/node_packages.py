"""Copies of the examples in JavaScript and TypeScript, with the packages that they need."""

import shutil
import subprocess
from pathlib import Path

from runner_bridge.dev_runner.build import locked
from tests.support.sources import ROOT

CACHE = ROOT / ".cache" / "node_extensions"
LANGUAGES = ("javascript", "typescript")


def example_package(language: str, directory: Path) -> Path:
    """Copy an example into a directory, beside a link to its packages, which are installed once."""
    name = f"{language}-report"
    kept = CACHE / name
    CACHE.mkdir(parents=True, exist_ok=True)
    with locked(CACHE / "lock"):
        shutil.copytree(ROOT / "examples" / name, kept, dirs_exist_ok=True)
        if not (kept / "node_modules" / "rolldown").is_dir():
            subprocess.run(["npm", "install", "--no-audit", "--no-fund"], cwd=kept, check=True)
    target = directory / name
    shutil.copytree(ROOT / "examples" / name, target)
    (target / "node_modules").symlink_to(kept / "node_modules")
    return target

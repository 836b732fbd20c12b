"""The wheel, built from what it needs of this checkout, in fresh virtual environments."""

import shutil
import subprocess
import sys
import venv
from pathlib import Path

from tests.support.sources import ROOT

PARTS = (
    "pyproject.toml",
    "README.md",
    "nats.conf",
    "examples/conformance",
    "examples/scheduler_demo",
    "npm/testing/package.json",
    "npm/testing/README.md",
    "npm/testing/data",
    "npm/testing/lib",
    "contracts",
    "console",
    "devstack",
    "runner_bridge",
    "service",
)
PIP = ("-m", "pip", "--disable-pip-version-check")


def run(*command: str | Path, directory: Path, status: int = 0) -> str:
    """Return what a command prints; its exit status must be ``status``."""
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def build_wheel(directory: Path) -> Path:
    """Build the wheel from a copy of its sources, into ``directory``."""
    source = directory / "source"
    for part in PARTS:
        (source / part).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, source / part)
    run(
        *(sys.executable, *PIP, "wheel", "-q", "--no-deps", "--no-build-isolation"),
        *("-w", directory, "."),
        directory=source,
    )
    shutil.rmtree(source)
    [wheel] = directory.glob("*.whl")
    return wheel


def fresh_environment(directory: Path, extra: str = "") -> Path:
    """Return the programs' directory of a new environment with the wheel and ``extra`` alone."""
    wheel = build_wheel(directory)
    venv.create(directory / "env", with_pip=True)
    programs = directory / "env" / "bin"
    run(
        *(programs / "python", *PIP, "install", "-q", "-c", ROOT / "constraints.txt"),
        f"{wheel}[{extra}]" if extra else str(wheel),
        directory=directory,
    )
    return programs

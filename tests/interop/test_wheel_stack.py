"""The demo from the wheel alone: a fresh environment, an empty directory, no checkout."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.wheel import fresh_environment


@pytest.mark.timeout(900)
def test_the_demo_runs_from_the_wheel_in_an_empty_directory(tmp_path: Path) -> None:
    programs = fresh_environment(tmp_path, "dev")
    directory = tmp_path / "empty"
    directory.mkdir()
    # Whoever starts it may have modules of the names that the wheel has.
    for name in ("service", "contracts"):
        (directory / f"{name}.py").write_text("raise RuntimeError('not this one')\n")
    shown = subprocess.run(
        [programs / "ext-scheduler", "demo"],
        cwd=directory,
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "caches")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "Done: every step succeeded." in shown.stdout
    assert (tmp_path / "caches" / "ext-scheduler" / "compiled").is_dir()
    assert sorted(path.name for path in directory.iterdir()) == ["contracts.py", "service.py"]

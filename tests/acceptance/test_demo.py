"""The demo is the whole path, so it is also a test of it."""

import subprocess
import sys

import pytest

from tests.support.sources import ROOT


@pytest.mark.timeout(600)
def test_the_demo_shows_an_extension_that_was_called_on_time() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "service", "demo"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert shown.stderr == ""
    for sight in ("created: status, heartbeat", "outcome   success, HTTP 200", "the run's id"):
        assert sight in shown.stdout, shown.stdout

"""The units of deploy/systemd, judged by systemd itself."""

import subprocess
from pathlib import Path

import pytest

from tests.support.sources import ROOT

DIRECTORY = ROOT / "deploy" / "systemd"


@pytest.mark.parametrize("unit", sorted(DIRECTORY.glob("*.service")), ids=lambda unit: unit.name)
def test_systemd_accepts_a_unit(unit: Path, tmp_path: Path) -> None:
    # The program is not in /opt on this machine, and verify looks for what it starts.
    text = unit.read_text().replace("/opt/ext-scheduler/bin/ext-scheduler", "/bin/true")
    copied = tmp_path / unit.name.replace("@", "@9464")
    copied.write_text(text)
    (tmp_path / "ext-scheduler.target").write_text((DIRECTORY / "ext-scheduler.target").read_text())
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", copied],
        capture_output=True,
        text=True,
        check=False,
    )
    ours = [line for line in verified.stderr.splitlines() if "ext-scheduler" in line]
    assert (ours, verified.returncode) == ([], 0)

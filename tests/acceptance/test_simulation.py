"""Simulated time: a few seconds of it, from another seed each time, with nothing out of place."""

import json
import subprocess
import sys
from pathlib import Path

from tests.support.sources import ROOT


def test_every_slot_of_a_simulated_world_is_accounted_for(tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    words = ("--slots", "400", "--schedules", "80", "--world", "400", "--seconds", "12")
    simulated = subprocess.run(
        [sys.executable, "-m", "tests.simulation", *words, "--json", str(results)],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert simulated.returncode == 0, simulated.stdout + simulated.stderr[-2_000:]
    document = json.loads(results.read_text())
    assert document["slots"] > 0
    assert document["counts"]["call"] > 0
    assert set(document["violations"].values()) == {0}

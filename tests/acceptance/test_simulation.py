"""Simulated time: a few seconds of it, from another seed each time, with nothing out of place."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.sources import ROOT

SMALL = ("--schedules", "60", "--world", "300")


def test_every_slot_of_a_simulated_world_is_accounted_for(tmp_path: Path) -> None:
    said, document = simulated(tmp_path, "--slots", "300", "--seconds", "12")
    assert document["slots"] > 0, said
    assert document["counts"]["call"] > 0, said
    assert document["counts"]["account: slots"] > 0, said
    assert set(document["violations"].values()) == {0}, said


@pytest.mark.parametrize(
    ("planted", "found"),
    [
        ("forgotten-slot", ("slot without its run", "slot unaccounted for by the account")),
        ("no-hold", ("two calls of a schedule at once",)),
    ],
)
def test_a_planted_fault_is_found(tmp_path: Path, planted: str, found: tuple[str, ...]) -> None:
    words = ("--plant", planted, "--seed", "5", "--slots", "6000")
    said, document = simulated(tmp_path, *words)
    assert all(document["violations"][kind] > 0 for kind in found), said
    assert "repeat: python -m tests.simulation --seed" in said


def test_the_command_that_is_printed_repeats_a_violation_step_by_step(tmp_path: Path) -> None:
    words = ("--plant", "forgotten-slot", "--seed", "5", "--slots", "1", "--world", "40")
    said, document = simulated(tmp_path, *words)
    [command] = re.findall(r"repeat: python -m tests\.simulation (.*)", said)
    again, repeated = simulated(tmp_path, *command.split())
    assert violations(again) == violations(said) != []
    assert repeated["digests"] == document["digests"]


def violations(said: str) -> list[str]:
    return [line for line in said.splitlines() if line.startswith("VIOLATION")]


def simulated(directory: Path, *words: str) -> tuple[str, dict[str, Any]]:
    """Run a simulation; return what it printed, and its results."""
    results = directory / "results.json"
    command = [sys.executable, "-m", "tests.simulation", *SMALL, *words, "--json", str(results)]
    run = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    said = run.stdout + run.stderr[-2_000:]
    assert results.exists(), said
    return said, json.loads(results.read_text())

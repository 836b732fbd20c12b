"""docs/operations.md and docs/command-line.md name alerts, commands and files that exist."""

import re

import pytest
import typer

from runner_bridge.executor import ExecutorSettings
from service.cli.main import program
from service.runtime.settings import Settings
from service.worker.firing.settings import TIMEOUT_STEP_S, FiringSettings
from tests.support.sources import ROOT

GUIDE = (ROOT / "docs" / "operations.md").read_text()
CELL = r"([^|\n]*)"


def rows(heading: str, columns: int) -> dict[str, list[str]]:
    """Return the rows of the table under a heading, by the name in their first cell."""
    section = GUIDE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    pattern = re.compile(r"^\| `(\w+)` " + rf"\|{CELL}" * (columns - 1) + r"\|$", re.MULTILINE)
    found = [(name, [cell.strip() for cell in cells]) for name, *cells in pattern.findall(section)]
    assert len(found) == len(dict(found)), "a name stands there twice"
    return dict(found)


def test_only_alerts_that_exist_are_explained() -> None:
    shipped = (ROOT / "deploy" / "prometheus" / "alerts.yml").read_text()
    explained = (ROOT / "docs" / "alerts.md").read_text()
    sections = re.findall(r"^## (\w+)$", explained, re.MULTILINE)
    assert sections == re.findall(r"- alert: (\w+)", shipped)


def words() -> list[str]:
    """Return every command that the guide mentions, without what follows."""
    names = "admin|keys|token|check|migrate|serve|bridge"
    known = rf"(?:ext-scheduler |`)((?:{names})(?![\w.-])(?: [a-z][a-z-]*)?)"
    return sorted(set(re.findall(known, GUIDE)))


@pytest.mark.parametrize("command", words())
def test_every_command_is_one_of_the_program(command: str) -> None:
    first, _, second = command.partition(" ")
    group = typer.main.get_command(program)
    assert isinstance(group, typer.core.TyperGroup)
    found = group.commands[first]
    if isinstance(found, typer.core.TyperGroup):
        assert second in found.commands


def test_the_guide_names_only_existing_files() -> None:
    named = set(re.findall(r"`((?:deploy|docs|contracts)/[\w./-]+)`", GUIDE))
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_timeouts_of_a_call_nest_by_two_or_three_seconds() -> None:
    firing, margin = FiringSettings(), ExecutorSettings(runner_url="").margin_s
    bridge_s = firing.runner_timeout_s + margin
    assert 2 <= margin <= 3
    assert 2 <= firing.call_timeout_s - bridge_s <= 3
    # The call may begin as late as this after its claim, and must have ended before a retry.
    assert firing.lease.total_seconds() > TIMEOUT_STEP_S + firing.call_timeout_s


def test_the_quick_start_generates_the_files_that_settings_default_to() -> None:
    guide = (ROOT / "docs" / "command-line.md").read_text()
    made = set(re.findall(r"keys generate --private (\S+)", guide))
    made |= set(re.findall(r"keys generate .*--public (\S+)", guide))
    chosen = Settings()
    assert {chosen.key_set_file, chosen.runner_key_file, chosen.admin_key_file} <= made

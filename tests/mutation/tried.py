"""Runs collected tests against mutants, each in a process forked after the collection.

So a mutant costs what its tests take until the first one fails. A test that fails may do so for
reasons of its own, on a busy machine: it counts where it fails with the mutant again, and, if it
did not end or lost time or a connection, passes without it right after.
"""

import asyncio
import itertools
import os
import select
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from types import FrameType
from typing import Any, TextIO

import asyncpg
import nats.errors
import pytest
from _pytest.main import pytest_runtestloop as run_collected
from hypothesis import is_hypothesis_test, settings
from msgspec import Struct

from devstack.embedded import Postgres, embedded_postgres
from tests.mutation.changed import change, unchanged
from tests.mutation.mutants import Mutant
from tests.support.eventually import NOT_WITHIN, eventually
from tests.support.sources import ROOT

EXAMPLES = 30
"""Of each property; they are tried after all other tests."""
MOST_SAID = 2_000
"""Characters about a test that fails without a mutant."""
PATIENCE = 3
"""How often the tests may fail without a mutant, on a busy machine."""
NAMES_OF_ONE = 1_000
"""How many databases the tests of one mutant may make."""
LONGEST_WAIT_S = 15.0
"""For how long a test waits for what may never come, or longer where it took longer without."""
LEAST_LIMIT_S = 30.0
"""After this, and several times what it takes without a mutant, a test does not end."""


class Fate(StrEnum):
    """What became of a mutant."""

    KILLED = "killed"
    SURVIVED = "survived"
    ENDLESS = "killed: it did not end"


class _Seen(Struct):
    """What a run of tests showed: the first that failed or did not end, and that of the others."""

    failed: str | None = None
    endless: bool = False
    doubtful: bool = False
    """Whether it failed as tests do that a busy machine disturbs."""
    durations_s: dict[str, float] = {}
    reached: dict[str, set[str]] = {}
    """By test, the functions of the module that it came to, where they were looked for."""


class _Trial:
    """A plugin that runs the collected tests once for each mutant."""

    def __init__(
        self, name: str, mutants: Iterable[Mutant], on_fate: Callable[[Mutant, Fate], None]
    ) -> None:
        self._name = name
        self._mutants = mutants
        self._on_fate = on_fate
        self._healthy = _Seen()
        self._kills: Counter[str] = Counter()
        self._told: TextIO | None = None
        """In a child: where the parent is told of each test."""
        self._reached: set[str] | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> None:
        settings.register_profile("mutation", parent=settings(), max_examples=EXAMPLES)
        settings.load_profile("mutation")

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items.sort(key=lambda item: is_hypothesis_test(getattr(item, "obj", None)))

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        healthy_s = self._healthy.durations_s.get(nodeid)
        if healthy_s is not None:
            eventually.__defaults__ = (max(LONGEST_WAIT_S, 2 * healthy_s),)
        self._tell("began", nodeid)

    def pytest_exception_interact(
        self, node: pytest.Item, call: pytest.CallInfo[object], report: pytest.TestReport
    ) -> None:
        if report.failed and call.excinfo is not None:
            doubtful = _is_of_the_machine(call.excinfo.value)
            self._tell("failed", node.nodeid, *(["doubtful"] if doubtful else []))
            if self._reached is not None:
                sys.stderr.write(f"{report.nodeid}: {report.longreprtext}\n"[:MOST_SAID])

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self._tell("ended", nodeid, *sorted(self._reached or ()))
        if self._reached:
            self._reached.clear()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        with _shared_database(session):
            self._healthy = self._passing(session)
            for mutant in self._mutants:
                self._on_fate(mutant, self._fate(session, mutant))
        return True

    def _passing(self, session: pytest.Session) -> _Seen:
        """Run all tests on the module as it is, put in as mutants are; again where they fail."""
        for _ in range(PATIENCE):
            seen = self._run(session, session.items, self._unchanged(), traced=True)
            if seen.failed is None:
                return seen
        raise AssertionError(f"{seen.failed} of {self._name} fails without a mutant")

    def _fate(self, session: pytest.Session, mutant: Mutant) -> Fate:
        left = self._in_order(session, mutant)
        while left:
            seen = self._run(session, left, mutant.source)
            if seen.failed is None:
                return Fate.SURVIVED
            if seen.failed == "":
                return Fate.KILLED
            place = next(n for n, item in enumerate(left) if item.nodeid == seen.failed)
            alone = [left[place]]
            again = self._run(session, alone, mutant.source)
            doubtful = seen.doubtful or seen.endless or again.doubtful or again.endless
            if again.failed is not None and (
                not doubtful or self._run(session, alone, self._unchanged()).failed is None
            ):
                self._kills[seen.failed] += 1
                return Fate.ENDLESS if seen.endless and again.endless else Fate.KILLED
            sys.stderr.write(f"{seen.failed} says nothing of: {mutant.what}\n")
            left = left[place + 1 :]
        return Fate.SURVIVED

    def _in_order(self, session: pytest.Session, mutant: Mutant) -> list[pytest.Item]:
        """Return the tests that come to the changed function, those first that kill the most.

        And all others after them, where that costs little: without a database.
        """
        healthy = self._healthy
        near = [
            item
            for item in session.items
            if mutant.function is None or mutant.function in healthy.reached[item.nodeid]
        ]

        def promise(item: pytest.Item) -> float:
            return (self._kills[item.nodeid] + 0.2) / (healthy.durations_s[item.nodeid] + 0.01)

        near.sort(key=promise, reverse=True)
        far = [item for item in session.items if item not in near]
        return near if _need_database(session.items) else [*near, *far]

    def _unchanged(self) -> str:
        return unchanged(sys.modules[self._name])

    def _run(
        self,
        session: pytest.Session,
        items: list[pytest.Item],
        source: str,
        *,
        traced: bool = False,
    ) -> _Seen:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            self._told = os.fdopen(writing, "w")
            os._exit(self._judge(session, items, source, traced=traced))
        os.close(writing)
        seen = _watched(reading, self._limit_s)
        os.close(reading)
        if seen.endless:
            os.killpg(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if seen.failed is None and status:
            seen.failed = ""
        return seen

    def _limit_s(self, test: str) -> float:
        healthy_s = self._healthy.durations_s.get(test)
        return 900 if healthy_s is None else LEAST_LIMIT_S + 5 * healthy_s

    def _judge(
        self, session: pytest.Session, items: list[pytest.Item], source: str, *, traced: bool
    ) -> int:
        os.setpgid(0, 0)
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 1)
        if not traced:
            os.dup2(nothing, 2)
        try:
            module = sys.modules[self._name]
            change(module, source)
            if traced:
                self._reached = set()
                sys.settrace(self._on_call(str(module.__file__), self._reached))
            session.items = items
            run_collected(session)
        except BaseException:  # noqa: BLE001 - whatever ends the tests has noticed the mutant
            return 1
        return 1 if session.testsfailed else 0

    @staticmethod
    def _on_call(file: str, reached: set[str]) -> Callable[[FrameType, str, object], None]:
        def note(frame: FrameType, _event: str, _argument: object) -> None:
            if frame.f_code.co_filename == file:
                reached.add(frame.f_code.co_qualname.partition(".<locals>")[0])

        return note

    def _tell(self, *words: str) -> None:
        if self._told is not None:
            self._told.write("\t".join(words) + "\n")
            self._told.flush()


def _watched(reading: int, limit_s: Callable[[str], float]) -> _Seen:
    """Follow what a child tells until its end, or until a test takes longer than its limit."""
    seen, running, began, rest = _Seen(), "", time.monotonic(), b""
    while True:
        left_s = began + limit_s(running) - time.monotonic()
        if not select.select([reading], [], [], max(left_s, 0))[0]:
            seen.failed, seen.endless = running, True
            return seen
        said = os.read(reading, 65536)
        if not said:
            return seen
        *lines, rest = (rest + said).split(b"\n")
        for line in lines:
            what, test, *reached = line.decode().split("\t")
            if what == "began":
                running, began = test, time.monotonic()
            elif what == "failed":
                if seen.failed is None:
                    seen.failed, seen.doubtful = test, bool(reached)
            else:
                seen.durations_s[test] = time.monotonic() - began
                seen.reached[test] = set(reached)


def _is_of_the_machine(error: BaseException) -> bool:
    """Return whether an error is of time or connections, as on a machine with too much to do."""
    lost = (OSError, asyncpg.InterfaceError, asyncpg.PostgresConnectionError, nats.errors.Error)
    waited = isinstance(error, AssertionError) and str(error).startswith(NOT_WITHIN)
    return waited or isinstance(error, (*lost, asyncpg.QueryCanceledError))


def _need_database(items: list[pytest.Item]) -> bool:
    return any("postgres" in getattr(item, "fixturenames", ()) for item in items)


@contextmanager
def _shared_database(session: pytest.Session) -> Iterator[None]:
    """Run one database server for the tests of all mutants, where any needs one.

    Each child goes on with names of its own: one that was ended leaves its databases behind.
    """
    if not _need_database(session.items):
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

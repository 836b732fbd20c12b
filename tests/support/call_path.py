"""Which functions of ours are on the stack when a library is called: the way of the data."""

import asyncio
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from tests.support.sources import ROOT

PACKAGES = tuple(str(ROOT / package) + "/" for package in ("contracts", "service"))
STEP = re.compile(r"^\d+\. `(?P<function>[\w.]+)` \(`(?P<path>[\w/.]+)`\)", re.MULTILINE)

CallPath = tuple[str, ...]


@contextmanager
def recorded_paths(
    function: Callable[..., Any],
    matches: Callable[[dict[str, Any]], bool],
    *,
    across_tasks: bool = False,
) -> Iterator[set[CallPath]]:
    """Record the ways to ``function`` within the context, of calls whose arguments match.

    A way is the functions of ours on the stack, outermost first: ``path qualified.name`` each. An
    awaiting coroutine is on the stack of the one that it awaits. With ``across_tasks``, the way to
    where a task was created comes before the functions of the task.
    """
    code: CodeType = function.__code__
    create_task: CodeType = asyncio.create_task.__code__
    paths: set[CallPath] = set()
    origins: dict[FrameType, CallPath] = {}

    def profile(frame: FrameType, event: str, _argument: object) -> None:
        if event != "call":
            return
        if frame.f_code is code and matches(frame.f_locals):
            paths.add(_path(frame, origins))
        elif across_tasks and frame.f_code is create_task:
            origins[frame.f_locals["coro"].cr_frame] = _path(frame, origins)

    sys.setprofile(profile)
    try:
        yield paths
    finally:
        sys.setprofile(None)


def _path(frame: FrameType | None, origins: Mapping[FrameType, CallPath]) -> CallPath:
    functions = tuple(reversed(list(_ours(frame))))
    while frame is not None:
        if frame in origins:
            return origins[frame] + functions
        frame = frame.f_back
    return functions


def _ours(frame: FrameType | None) -> Iterator[str]:
    while frame is not None:
        code = frame.f_code
        if code.co_filename.startswith(PACKAGES):
            path = Path(code.co_filename).relative_to(ROOT).as_posix()
            yield f"{path} {code.co_qualname}"
        frame = frame.f_back


def documented_path(heading: str) -> CallPath:
    """Return the numbered functions of a section of ``docs/architecture.md``, in order."""
    text = (ROOT / "docs/architecture.md").read_text()
    section = text.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return tuple(f"{step['path']} {step['function']}" for step in STEP.finditer(section))

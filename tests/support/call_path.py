"""Which functions of ours are on the stack when a library is called: the way of the data."""

import re
import sys
from collections.abc import Callable, Iterator
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
    function: Callable[..., Any], matches: Callable[[dict[str, Any]], bool]
) -> Iterator[set[CallPath]]:
    """Record the ways to ``function`` within the context, of calls whose arguments match.

    A way is the functions of ours on the stack, outermost first: ``path qualified.name`` each. An
    awaiting coroutine is on the stack of the one that it awaits.
    """
    code: CodeType = function.__code__
    paths: set[CallPath] = set()

    def profile(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call" and frame.f_code is code and matches(frame.f_locals):
            paths.add(tuple(reversed(list(_ours(frame)))))

    sys.setprofile(profile)
    try:
        yield paths
    finally:
        sys.setprofile(None)


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

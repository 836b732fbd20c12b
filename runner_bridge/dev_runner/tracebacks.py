"""Finds in a guest's standard error the exception that ended it, as its author knows it.

componentize-py and StarlingMonkey print an uncaught exception before they trap; the trap itself
says nothing of it.
"""

import re

INTERPRETERS = frozenset({"/0/interpreter.py", "interpreter.js"})
"""Modules that run an extension from its sources, whose frames are not the author's."""
_PYTHON = "Traceback (most recent call last):\n"
_PYTHON_FRAME = re.compile(r'^  File "(?P<file>[^"]+)", line (?P<line>\d+)')
_PYTHON_AUTHOR = re.compile(r"(?:/0/)?(?P<name>[^/<>]+\.py)")
"""A module in the root of the component, where componentize-py puts them; others are below."""
_PYTHON_END = "thread '"
"""Begins the line in which the runtime says that it gives up."""
_JAVASCRIPT = re.compile(r"^(?P<message>.*)\nStack:\n(?P<frames>(?:  .*@.*\n?)+)", re.MULTILINE)
_JAVASCRIPT_FRAME = re.compile(r"@(?P<file>[^@\n:]+):(?P<line>\d+):\d+$", re.MULTILINE)


def uncaught_exception(output: str) -> str | None:
    """Return file and line of the author, type and message, in one line; None if there is none.

    StarlingMonkey prints no type.
    """
    _, python, last = output.rpartition(_PYTHON)
    if python:
        return _of_python(last.splitlines())
    return _of_javascript(output)


def _of_python(lines: list[str]) -> str | None:
    places, text = list[str](), list[str]()
    for line in lines:
        frame = _PYTHON_FRAME.match(line)
        if line.startswith(_PYTHON_END):
            break
        if frame and frame["file"] not in INTERPRETERS:
            author = _PYTHON_AUTHOR.fullmatch(frame["file"])
            places += [f"{author['name']}:{frame['line']}: "] if author else []
        elif not line.startswith("  "):
            text += [line.strip()] if line.strip() else []
    return "".join(places[-1:]) + " ".join(text) if text else None


def _of_javascript(output: str) -> str | None:
    found = _JAVASCRIPT.search(output)
    if found is None:
        return None
    places = [
        f"{frame['file']}:{frame['line']}: "
        for frame in _JAVASCRIPT_FRAME.finditer(found["frames"])
        if not frame["file"].startswith("/") and frame["file"] not in INTERPRETERS
    ]
    return "".join(places[:1]) + found["message"].strip()

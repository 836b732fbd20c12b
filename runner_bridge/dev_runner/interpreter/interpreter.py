"""Runs a Python extension from its sources: compiled once, to be the component of them all.

Like any other it is initialised while it is compiled, so that `preloaded` and what it imports are
in its memory; a component has no files, and can import nothing else.
"""

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import inspect
import json
import linecache
import sys
import traceback
from collections.abc import Mapping, Sequence
from types import ModuleType

from preloaded import LOAD_METHOD  # type: ignore[import-not-found]  # written by the compiler's caller
from wit_world.imports import sources, types  # type: ignore[import-not-found]  # the compiler's

EXTENSION = "extension"
MAX_SHOWN = 60
"""Characters of a wrong value that a message shows."""


class ModulesOfTexts(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds modules by name in a map of texts."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = texts

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002 - the protocol's
        target: ModuleType | None = None,  # noqa: ARG002 - likewise
    ) -> importlib.machinery.ModuleSpec | None:
        """Return the specification of a module; None where it is not one of these."""
        if fullname not in self._texts:
            return None
        return importlib.util.spec_from_loader(fullname, self, origin=file_of(fullname))

    def exec_module(self, module: ModuleType) -> None:
        """Execute a module, so that tracebacks show its lines."""
        name, text = module.__name__, self._texts[module.__name__]
        lines = text.splitlines(keepends=True)
        linecache.cache[file_of(name)] = (len(text), None, lines, file_of(name))
        exec(compile(text, file_of(name), "exec", dont_inherit=True), module.__dict__)  # noqa: S102 - its purpose


class WitWorld:
    """What the host calls."""

    def handler(self, request: types.ExecuteRequest) -> types.ExecuteResponse:
        """Load the extension, and have it answer."""
        texts = json.loads(sources.read())
        for name in texts:
            sys.modules.pop(name, None)
        sys.meta_path.insert(0, ModulesOfTexts(texts))
        if request.http.method == LOAD_METHOD:
            return load(texts)
        return checked_answer(importlib.import_module(EXTENSION).WitWorld().handler(request))


def load(names: Mapping[str, str]) -> types.ExecuteResponse:
    """Load the extension; return 204, or 500 and why it failed."""
    try:
        check_handler(importlib.import_module(EXTENSION).WitWorld())
    except (Exception, SystemExit) as error:  # noqa: BLE001 - it may be any of the author's
        return types.ExecuteResponse(500, [], describe(error, names).encode())
    return types.ExecuteResponse(204, [], None)


def check_handler(world: object) -> None:
    """Raise TypeError where the host cannot call the extension's handler."""
    handler = getattr(world, "handler", None)
    if not callable(handler):
        raise TypeError("class WitWorld has no method handler(self, request)")
    if inspect.iscoroutinefunction(handler):
        raise TypeError("WitWorld.handler must not be async")
    try:
        inspect.signature(handler).bind(None)
    except TypeError as error:
        raise TypeError(f"WitWorld.handler cannot take a request: {error}") from None


def checked_answer(answer: object) -> types.ExecuteResponse:
    """Return what a handler returned. Raises TypeError where the host cannot take it."""
    try:
        status, headers, body = (getattr(answer, name) for name in ("status", "headers", "body"))
    except AttributeError:
        kind = type(answer).__name__
        raise TypeError(f"handler returned {kind}, not types.ExecuteResponse") from None
    for member, value, right, expected in (
        ("status", status, isinstance(status, int) and 0 <= status < 2**16, "0 to 65535"),
        ("headers", headers, are_headers(headers), "a list of types.HttpHeader of two str"),
        ("body", body, body is None or isinstance(body, bytes), "bytes or None"),
    ):
        if not right:
            shown = f"{value!r:.{MAX_SHOWN}}"
            raise TypeError(f"{member} of the answer must be {expected}, and is {shown}")
    return answer


def are_headers(headers: object) -> bool:
    """Return whether these can be the headers of an answer."""
    return isinstance(headers, list) and all(
        isinstance(getattr(header, member, None), str)
        for header in headers
        for member in ("name", "value")
    )


def describe(error: BaseException, names: Mapping[str, str]) -> str:
    """Return file, line and message of an error, and the line itself where there is one."""
    text = traceback.format_exception_only(error)[-1].strip()
    if isinstance(error, SyntaxError) and error.filename:
        code = (error.text or "").strip()
        return f"{error.filename}:{error.lineno}: {error.msg}\n    {code}"
    files = {file_of(name) for name in names}
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename in files]
    if not frames:
        return f"{file_of(EXTENSION)}: {text}"
    last = frames[-1]
    return f"{last.filename}:{last.lineno}: {text}\n    {last.line}"


def file_of(name: str) -> str:
    """Return the file name of a module."""
    return f"{name}.py"

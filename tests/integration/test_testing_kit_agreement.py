"""The test kit beside what it stands for: the service's answers, and the compiler's types."""

import importlib
import inspect
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any, get_type_hints
from uuid import uuid4

import asyncpg
import msgspec
import pytest

from contracts.errors import ServiceError
from contracts.schedules import CreateInput, DeleteInput, GetInput, UpdateInput
from devstack.testing import wit_types
from devstack.testing.host_modules import host_modules
from devstack.testing.scheduler import InMemoryScheduler
from runner_bridge.dev_runner.build import WIT
from service.rules.endpoints import read_manifest
from service.rules.limits import Limits
from tests.support.host import Caller, dispatcher
from tests.support.platform import ENDPOINTS, install

LIMITS = Limits(max_schedules=3, changes_per_minute=9)
GOOD = {"endpoint": "/api/heartbeat", "cron": "0 * * * *"}
INPUTS = {"create": CreateInput, "update": UpdateInput, "delete": DeleteInput, "get": GetInput}
STEPS: list[tuple[str, dict[str, Any]]] = [
    ("getEndpoints", {}),
    ("create", {**GOOD, "name": " first ", "payload": {"a": [1, 2.5]}}),
    ("create", {**GOOD, "name": "first"}),
    ("create", {**GOOD, "name": "first", "cron": "@daily", "timezone": "europe/berlin"}),
    ("create", {"endpoint": "GET /api/heartbeat", "cron": "* * * * *"}),
    ("create", {"endpoint": "DELETE /api/x", "cron": "0 0 31 2 *", "name": "n" * 129}),
    ("create", {"endpoint": "post //api/heartbeat", "cron": "0 9 * * 1", "enabled": False}),
    ("list", {}),
    ("update", {"scheduleId": 0, "cron": "0 10 * * *", "timezone": "Europe/Berlin"}),
    ("update", {"scheduleId": 0, "name": "first", "enabled": True}),
    ("update", {"scheduleId": 1, "name": "first"}),
    ("update", {"scheduleId": 1, "enabled": True, "payload": None, "name": "second"}),
    ("update", {"scheduleId": 1, "endpoint": "/api/none", "timezone": "x"}),
    ("update", {"scheduleId": "no id", "cron": "0 0 * * *"}),
    ("update", {"scheduleId": str(uuid4()), "cron": "0 0 * * *"}),
    ("list", {}),
    ("delete", {"scheduleId": str(uuid4())}),
    ("delete", {"scheduleId": "no id"}),
    ("create", GOOD),
    ("create", GOOD),
    ("delete", {"scheduleId": 1}),
    ("get", {"scheduleId": 1}),
    ("get", {"scheduleId": 0}),
    ("get", {"scheduleId": "no id"}),
    ("create", {**GOOD, "enabled": False}),
    ("delete", {"scheduleId": 0}),
    ("create", GOOD),
    ("create", GOOD),
    ("list", {}),
]
"""Operations and inputs; a number as id stands for the schedule that was created as such."""
OF_THE_MOMENT = {"createdAt", "updatedAt", "retryAfterMs"}


async def test_the_kit_answers_as_the_service_does(pool: asyncpg.Pool) -> None:
    service = Caller(dispatcher(pool, LIMITS), await install(pool))
    manifest = read_manifest(msgspec.json.encode(ENDPOINTS).decode())
    row = await pool.fetchval("SELECT now()")
    kit = InMemoryScheduler(manifest, LIMITS, lambda: row)
    theirs: list[str] = []
    ours: list[str] = []
    codes = set()
    for op, body in STEPS:
        expected = await service(op, **_with_ids(body, theirs))
        answer = await ask_kit(kit, op, _with_ids(body, ours))
        theirs += [expected["scheduleId"]] if expected.get("scheduleId") else []
        ours += [answer["scheduleId"]] if answer.get("scheduleId") else []
        assert _comparable(answer, ours) == _comparable(expected, theirs), (op, body)
        codes.add(expected.get("code"))
    assert len(theirs) == 4
    refusals = {"VALIDATION_FAILED", "CONFLICT", "NOT_FOUND", "QUOTA_EXCEEDED", "RATE_LIMITED"}
    assert codes == {None, *refusals}


async def ask_kit(kit: InMemoryScheduler, op: str, body: dict[str, Any]) -> dict[str, Any]:
    """Ask as the service is asked, and answer in the form of its reply."""
    names = {"getEndpoints": "get_endpoints"}
    operation = getattr(kit, names.get(op, op))
    try:
        given = [msgspec.convert(body, INPUTS[op])] if op in INPUTS else []
        answer: dict[str, Any] = msgspec.to_builtins(await operation(*given))
    except ServiceError as error:
        return {"success": False, "code": error.code, "error": error.message}
    return answer


def _with_ids(body: dict[str, Any], ids: list[str]) -> dict[str, Any]:
    number = body.get("scheduleId")
    return body | {"scheduleId": ids[number]} if isinstance(number, int) else body


def _comparable(answer: dict[str, Any], ids: list[str]) -> Any:
    """Return an answer with its ids as numbers, without what depends on the moment."""
    if answer.get("error", "").startswith("Too many schedule changes"):
        return "Too many schedule changes"
    if "fieldErrors" not in answer and answer.get("code") == "VALIDATION_FAILED":
        answer = answer | {"fieldErrors": {"scheduleId": answer["error"]}}

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                key: None if key == "id" and member not in ids else plain(member)
                for key, member in value.items()
                if key not in OF_THE_MOMENT
            }
        if isinstance(value, list):
            return [plain(member) for member in value]
        return ids.index(value) if value in ids else value

    return plain(answer)


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield what the compiler generates for an extension."""
    directory = tmp_path_factory.mktemp("bindings")
    code = "import sys, componentize_py; sys.exit(componentize_py.script())"
    command = [
        sys.executable,
        "-c",
        code,
        "-d",
        str(WIT),
        "-w",
        "runner",
        "bindings",
        str(directory),
    ]
    subprocess.run(command, check=True, capture_output=True)
    sys.path.insert(0, str(directory))
    yield directory
    sys.path.remove(str(directory))
    for name in [
        name for name in sys.modules if name.startswith(("wit_world", "componentize_py_"))
    ]:
        del sys.modules[name]


def _shape(kind: type) -> Any:
    if issubclass(kind, Enum):
        return {member.name: member.value for member in kind}
    hints = get_type_hints(kind)
    return [(field.name, _named(hints[field.name])) for field in fields(kind)]  # type: ignore[arg-type]  # a record


def _named(hint: object) -> str:
    """Return a type as text, without the modules of its parts."""
    text = str(hint if not isinstance(hint, type) or "[" in str(hint) else hint.__name__)
    text = text.replace("typing.List", "list").replace("Optional[", "[")
    for module in ("typing.", "wit_world.imports.types.", "devstack.testing.wit_types."):
        text = text.replace(module, "")
    optional = text.endswith(" | None")
    return f"[{text.removesuffix(' | None')}]" if optional else text


def _own_types(module: ModuleType) -> dict[str, type]:
    return {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, type)
        and value.__module__ == module.__name__
        and (is_dataclass(value) or issubclass(value, Enum))
    }


def test_the_types_of_the_kit_are_those_that_the_compiler_generates(generated: Path) -> None:
    theirs = _own_types(_load(generated, "wit_world.imports.types"))
    ours = _own_types(wit_types)
    assert ours.keys() - {"Err"} == theirs.keys()
    for name, kind in theirs.items():
        assert _shape(ours[name]) == _shape(kind), name


def test_the_functions_of_the_kit_are_those_that_the_compiler_generates(generated: Path) -> None:
    ours = host_modules(lambda *_: None)
    for name in ("context", "logging", "scheduler", "storage"):
        theirs = _load(generated, f"wit_world.imports.{name}")
        functions = dict(inspect.getmembers(theirs, inspect.isfunction))
        functions = {key: f for key, f in functions.items() if f.__module__ == theirs.__name__}
        kit = vars(ours[f"wit_world.imports.{name}"])
        assert functions
        for function, generated_one in functions.items():
            parameters = list(inspect.signature(generated_one).parameters)
            assert list(inspect.signature(kit[function]).parameters) == parameters, function


def _load(directory: Path, name: str) -> ModuleType:
    assert (directory / "wit_world").is_dir()
    return importlib.import_module(name)

"""The modules that the compiler gives to a Python extension, over a host of one's own."""

import dataclasses
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import msgspec

from devstack.testing import wit_types
from devstack.testing.wit_types import (
    ContextData,
    CreateScheduleInput,
    CreateScheduleResult,
    DeleteScheduleResult,
    EndpointInfo,
    Err,
    ScheduleInfo,
    SchedulerError,
    StorageEntry,
    StorageError,
    UpdateScheduleInput,
    UpdateScheduleResult,
)
from runner_bridge.dev_runner.interface import CONTEXT, LOGGING, SCHEDULER, STORAGE

R = TypeVar("R")
T = TypeVar("T")

Ask = Callable[..., Any]
"""Calls a host function: interface, function, arguments as plain values; returns its result."""
EXTENSION = "extension"


def host_modules(ask: Ask) -> dict[str, ModuleType]:
    """Return what an extension may import beyond the standard library, by name."""
    imports = ModuleType("wit_world.imports")
    parts = {
        "context": _context(ask),
        "logging": _logging(ask),
        "scheduler": _scheduler(ask),
        "storage": _storage(ask),
        "types": wit_types,
    }
    modules = {"wit_world": ModuleType("wit_world"), "wit_world.imports": imports}
    for name, part in parts.items():
        setattr(imports, name, part)
        modules[f"wit_world.imports.{name}"] = part
    return modules | {"componentize_py_types": _module("componentize_py_types", Err=Err)}


@contextmanager
def importable(directory: Path, modules: Mapping[str, ModuleType]) -> Iterator[ModuleType]:
    """Import the extension of a directory afresh; its imports are found within the context.

    Afterwards ``sys.modules`` and ``sys.path`` are what they were before.
    """
    own = {path.stem for path in directory.glob("*.py")}
    names = own | modules.keys()
    before = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    sys.modules.update(modules)
    sys.path.insert(0, str(directory))
    try:
        yield import_module(EXTENSION)
    finally:
        sys.path.remove(str(directory))
        for name in names:
            sys.modules.pop(name, None)
        sys.modules.update(before)


def _context(ask: Ask) -> ModuleType:
    def get_context() -> ContextData:
        return to_record(ContextData, ask(CONTEXT, "get-context"))

    return _module("wit_world.imports.context", get_context=get_context)


def _logging(ask: Ask) -> ModuleType:
    def log_info(message: str) -> None:
        ask(LOGGING, "log-info", _typed(message, str))

    def log_warn(message: str) -> None:
        ask(LOGGING, "log-warn", _typed(message, str))

    def log_error(message: str) -> None:
        ask(LOGGING, "log-error", _typed(message, str))

    return _module(
        "wit_world.imports.logging", log_info=log_info, log_warn=log_warn, log_error=log_error
    )


def _scheduler(ask: Ask) -> ModuleType:
    def list_schedules() -> list[ScheduleInfo]:
        result = _ok(ask(SCHEDULER, "list-schedules"), SchedulerError)
        return [to_record(ScheduleInfo, schedule) for schedule in result]

    def get_schedule(schedule_id: str) -> ScheduleInfo | None:
        result = _ok(ask(SCHEDULER, "get-schedule", _typed(schedule_id, str)), SchedulerError)
        return None if result is None else to_record(ScheduleInfo, result)

    def create_schedule(input: CreateScheduleInput) -> CreateScheduleResult:  # noqa: A002 - as generated
        given = _plain(_typed(input, CreateScheduleInput))
        return to_record(CreateScheduleResult, ask(SCHEDULER, "create-schedule", given))

    def update_schedule(schedule_id: str, input: UpdateScheduleInput) -> UpdateScheduleResult:  # noqa: A002 - as generated
        given = _plain(_typed(input, UpdateScheduleInput))
        result = ask(SCHEDULER, "update-schedule", _typed(schedule_id, str), given)
        return to_record(UpdateScheduleResult, result)

    def delete_schedule(schedule_id: str) -> DeleteScheduleResult:
        result = ask(SCHEDULER, "delete-schedule", _typed(schedule_id, str))
        return to_record(DeleteScheduleResult, result)

    def get_endpoints() -> list[EndpointInfo]:
        result = _ok(ask(SCHEDULER, "get-endpoints"), SchedulerError)
        return [to_record(EndpointInfo, endpoint) for endpoint in result]

    return _module(
        "wit_world.imports.scheduler",
        list_schedules=list_schedules,
        get_schedule=get_schedule,
        create_schedule=create_schedule,
        update_schedule=update_schedule,
        delete_schedule=delete_schedule,
        get_endpoints=get_endpoints,
    )


def _storage(ask: Ask) -> ModuleType:
    def get(namespace: str, key: str) -> StorageEntry:
        result = ask(STORAGE, "get", _typed(namespace, str), _typed(key, str))
        return to_record(StorageEntry, _ok(result, StorageError))

    def put(entry: StorageEntry) -> StorageEntry:
        result = ask(STORAGE, "put", _plain(_typed(entry, StorageEntry)))
        return to_record(StorageEntry, _ok(result, StorageError))

    def delete(namespace: str, key: str) -> None:
        _ok(ask(STORAGE, "delete", _typed(namespace, str), _typed(key, str)), StorageError)

    def list_entries(namespace: str, cursor: str | None) -> list[StorageEntry]:
        arguments = _typed(namespace, str), _typed(cursor, str | None)
        result = _ok(ask(STORAGE, "list-entries", *arguments), StorageError)
        return [to_record(StorageEntry, entry) for entry in result]

    return _module(
        "wit_world.imports.storage", get=get, put=put, delete=delete, list_entries=list_entries
    )


def _module(name: str, **members: object) -> ModuleType:
    module = ModuleType(name)
    vars(module).update(members)
    return module


def _typed(value: T, kind: Any) -> T:  # noqa: ANN401 - a type or a union of types
    """Return the value. Raises TypeError where it is of another type, which would trap a guest."""
    plain: object = value
    if dataclasses.is_dataclass(kind):
        if type(value) is not kind:
            raise TypeError(f"expected {kind}, got {type(value)}")
        plain = vars(value)
    try:
        msgspec.convert(plain, kind, builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        raise TypeError(str(error)) from None
    return value


def _plain(record: object) -> dict[str, Any]:
    return {name.replace("_", "-"): value for name, value in vars(record).items()}


def to_record(kind: type[R], plain: Mapping[str, Any]) -> R:
    """Return the record for a value with the WIT's names; members that it lacks are dropped."""
    names = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]  # a record
    return kind(**{name: plain[name.replace("_", "-")] for name in names})


def _ok(result: Mapping[str, Any], errors: type[Enum]) -> Any:  # noqa: ANN401 - the function's result
    if "err" in result:
        raise Err(errors[result["err"].upper().replace("-", "_")])
    return result["ok"]

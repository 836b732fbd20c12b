"""The host functions that a guest may call, each behind a capability."""

import logging
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import msgspec
from msgspec import Struct

from contracts.errors import Code, ServiceError
from contracts.execution import ExecuteContext, given
from runner_bridge.dev_runner import scheduling
from runner_bridge.dev_runner.frames import HostCall, Value
from runner_bridge.dev_runner.hints import Suggest, no_suggestion
from runner_bridge.dev_runner.interface import (
    CAPABILITIES,
    CONTEXT,
    LOGGING,
    SCHEDULER,
    SOURCES,
    STORAGE,
)
from runner_bridge.dev_runner.storage import MemoryStorage, StorageArea

log = logging.getLogger(__name__)
guest_log = logging.getLogger("runner_bridge.dev_runner.extension")

MAX_LOG_CHARACTERS = 4_000
MAX_LOG_LINES = 500
_LEVELS: Mapping[str, int] = MappingProxyType(
    {"log-info": logging.INFO, "log-warn": logging.WARNING, "log-error": logging.ERROR}
)


class HostCallRefused(Exception):
    """The call traps its guest; the message is the reason."""


class ExecutionGrant(Struct):
    """The install and capabilities (trimmed, in lower case) of an execution."""

    context: ExecuteContext
    capabilities: frozenset[str]
    log_lines_left: int = MAX_LOG_LINES

    @property
    def area(self) -> StorageArea:
        """Return the storage area of this install."""
        owner = given(self.context.install_id) or f"extension:{self.context.extension_id}"
        return (self.context.tenant_id, owner)


def capabilities(providers: list[str]) -> frozenset[str]:
    """Return the names as they are compared: trimmed and in lower case."""
    return frozenset(name.strip().lower() for name in providers)


SchedulerFor = Callable[[ExecuteContext, frozenset[str]], scheduling.Scheduler]
"""Returns the scheduler for the install of an execution with these capabilities.

It raises ServiceError where there is no install."""


SourcesOf = Callable[[str], Mapping[str, str]]
"""Returns the texts of an extension's modules, by its content hash; none for a component."""


class Host:
    """The services behind the interfaces, shared by all executions."""

    def __init__(
        self,
        scheduler_for: SchedulerFor,
        storage: MemoryStorage,
        sources_of: SourcesOf = lambda _: MappingProxyType({}),
        suggest: Suggest = no_suggestion,
    ) -> None:
        self._scheduler_for = scheduler_for
        self._storage = storage
        self._sources_of = sources_of
        self._suggest = suggest

    async def answer(self, grant: ExecutionGrant, call: HostCall) -> Value:
        """Call a host function and return its result.

        Raises:
            HostCallRefused: the function is unknown, or its interface cannot express a refusal.
        """
        if call.interface == SOURCES:
            modules = self._sources_of(given(grant.context.content_hash) or "")
            return msgspec.json.encode(modules).decode()
        if call.interface not in CAPABILITIES:
            raise HostCallRefused(f"{call.interface}.{call.function} is not offered by this host")
        if CAPABILITIES[call.interface] not in grant.capabilities:
            return _denied(grant, call)
        if call.interface == SCHEDULER:
            return await self._scheduled(grant, call)
        if call.interface == STORAGE:
            return self._stored(grant.area, call)
        if call.interface == LOGGING:
            return _logged(grant, call)
        return context_data(grant.context)

    async def _scheduled(self, grant: ExecutionGrant, call: HostCall) -> Value:
        try:
            scheduler = self._scheduler_for(grant.context, grant.capabilities)
        except ServiceError as error:
            _log_refusal(grant, call, error.message)
            return scheduling.refused(call.function, error.code, error.message)
        return await scheduling.call(scheduler, call.function, call.arguments, self._suggest)

    def _stored(self, area: StorageArea, call: HostCall) -> dict[str, Any]:
        functions: dict[str, Callable[..., dict[str, Any]]] = {
            "get": self._storage.get,
            "put": self._storage.put,
            "delete": self._storage.delete,
            "list-entries": self._storage.list_entries,
        }
        return functions[call.function](area, *call.arguments)


def context_data(context: ExecuteContext) -> dict[str, Any]:
    """Return the record ``context-data``."""
    return {
        "request-id": context.request_id,
        "tenant-id": context.tenant_id,
        "extension-id": context.extension_id,
        "install-id": given(context.install_id),
        "version-id": given(context.version_id),
    }


def _denied(grant: ExecutionGrant, call: HostCall) -> dict[str, Any] | None:
    message = f"Capability {CAPABILITIES[call.interface]} is not granted"
    _log_refusal(grant, call, message)
    if call.interface == SCHEDULER:
        return scheduling.refused(call.function, Code.DENIED, message)
    if call.interface == STORAGE:
        return {"err": "denied"}
    if call.interface == CONTEXT:
        raise HostCallRefused(message)
    # A log line is no reason to trap a guest, and the interface has no errors: it is dropped.
    return None


def _log_refusal(grant: ExecutionGrant, call: HostCall, reason: str) -> None:
    if grant.log_lines_left > 0:
        grant.log_lines_left -= 1
        shown = {"interface": call.interface, "function": call.function, "reason": reason}
        log.info("host call refused", extra={"fields": shown})


def _logged(grant: ExecutionGrant, call: HostCall) -> None:
    if grant.log_lines_left <= 0:
        return
    grant.log_lines_left -= 1
    [message] = call.arguments
    context = grant.context
    guest_log.log(
        _LEVELS[call.function],
        "%s",
        message[:MAX_LOG_CHARACTERS],
        extra={
            "fields": {
                "tenant": context.tenant_id,
                "extension": context.extension_id,
                "request_id": context.request_id,
            }
        },
    )

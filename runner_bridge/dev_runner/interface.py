"""The functions of ``wit/extension.wit`` that this host offers, and their capabilities."""

from collections.abc import Mapping
from types import MappingProxyType

CONTEXT = "alga:extension/context"
LOGGING = "alga:extension/logging"
SCHEDULER = "alga:extension/scheduler"
STORAGE = "alga:extension/storage"
SOURCES = "ext-scheduler:development/sources"
"""Only for the interpreters, which run extensions from their sources."""

OFFERED: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        SOURCES: frozenset({"read"}),
        CONTEXT: frozenset({"get-context"}),
        LOGGING: frozenset({"log-info", "log-warn", "log-error"}),
        STORAGE: frozenset({"get", "put", "delete", "list-entries"}),
        SCHEDULER: frozenset(
            {
                "list-schedules",
                "get-schedule",
                "create-schedule",
                "update-schedule",
                "delete-schedule",
                "get-endpoints",
            }
        ),
    }
)

CAPABILITIES: Mapping[str, str] = MappingProxyType(
    {
        CONTEXT: "cap:context.read",
        LOGGING: "cap:log.emit",
        STORAGE: "cap:storage.kv",
        SCHEDULER: "cap:scheduler.manage",
    }
)

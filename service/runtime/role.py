"""The roles of a process of the service."""

from enum import StrEnum


class Role(StrEnum):
    """What a process does."""

    RESPONDER = "responder"
    WORKER = "worker"
    ALL = "all"

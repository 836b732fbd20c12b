"""The interfaces of world ``runner`` besides ``scheduler``, fixed: components need them for years.

Names and the order of fields are part of the binary contract.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from msgspec import Struct

from contracts.publish.wit import Field

STORAGE_ERROR = "storage-error"
ENUMS: Mapping[str, Sequence[str]] = MappingProxyType(
    {STORAGE_ERROR: ("missing", "conflict", "denied", "internal")}
)
_TEXT = "string"
_OPTIONAL_TEXT = "option<string>"
_NAMESPACE, _KEY = Field("namespace", _TEXT), Field("key", _TEXT)
_HEADERS = Field("headers", "list<http-header>")
_BODY = Field("body", "option<list<u8>>")
RECORDS: Mapping[str, Sequence[Field]] = MappingProxyType(
    {
        "context-data": (
            Field("request-id", _OPTIONAL_TEXT),
            Field("tenant-id", _TEXT),
            Field("extension-id", _TEXT),
            Field("install-id", _OPTIONAL_TEXT),
            Field("version-id", _OPTIONAL_TEXT),
        ),
        "http-header": (Field("name", _TEXT), Field("value", _TEXT)),
        "http-request": (
            Field("method", _TEXT),
            Field("url", _TEXT, "Path and query, without scheme and host."),
            _HEADERS,
            _BODY,
        ),
        "execute-request": (Field("context", "context-data"), Field("http", "http-request")),
        "execute-response": (Field("status", "u16"), _HEADERS, _BODY),
        "storage-entry": (
            _NAMESPACE,
            _KEY,
            Field("value", "list<u8>"),
            Field(
                "revision",
                "option<u64>",
                "On put: absent writes whatever is there, a number only over that revision.",
            ),
        ),
    }
)


class WorldFunction(Struct, frozen=True):
    """A function; ``result`` is None where it returns nothing, ``error`` the enum it fails with."""

    name: str
    parameters: Sequence[Field] = ()
    result: str | None = None
    error: str | None = None


_MESSAGE = (Field("message", _TEXT),)
INTERFACES: Mapping[str, Sequence[WorldFunction]] = MappingProxyType(
    {
        "context": (WorldFunction("get-context", result="context-data"),),
        "logging": tuple(
            WorldFunction(name, _MESSAGE) for name in ("log-info", "log-warn", "log-error")
        ),
        "storage": (
            WorldFunction("get", (_NAMESPACE, _KEY), "storage-entry", STORAGE_ERROR),
            WorldFunction(
                "put", (Field("entry", "storage-entry"),), "storage-entry", STORAGE_ERROR
            ),
            WorldFunction("delete", (_NAMESPACE, _KEY), None, STORAGE_ERROR),
            WorldFunction(
                "list-entries",
                (_NAMESPACE, Field("cursor", _OPTIONAL_TEXT)),
                "list<storage-entry>",
                STORAGE_ERROR,
            ),
        ),
    }
)
HANDLER = WorldFunction("handler", (Field("request", "execute-request"),), "execute-response")
"""What an extension exports."""


def signature(function: WorldFunction) -> str:
    """Write a function in WIT."""
    parameters = ", ".join(f"{field.name}: {field.type}" for field in function.parameters)
    result = function.result
    if function.error is not None:
        result = f"result<{result or '_'}, {function.error}>"
    arrow = "" if result is None else f" -> {result}"
    return f"    {function.name}: func({parameters}){arrow};"

"""The parts of the AsyncAPI document that no table has: servers, headers, description."""

from typing import Any

from contracts.encoding import MAX_BODY_BYTES, Encoding
from contracts.errors import NUMBERS
from contracts.messagepack import MAX_VALUES
from contracts.subjects import (
    ADMIN_AUDIENCE,
    CONTENT_TYPE_HEADER,
    CONTEXT_HEADER,
    DEADLINE_HEADER,
    ERROR_CODE_HEADER,
    ERROR_HEADER,
    HOST_AUDIENCE,
    IDEMPOTENCY_HEADER,
    REQUEST_ID_HEADER,
    RUNNER_AUDIENCE,
    TRACE_HEADER,
)

DESCRIPTION = f"""\
Cron schedules for sandboxed extensions, over NATS request/reply.

Bodies are MessagePack; with the header `{CONTENT_TYPE_HEADER}: {Encoding.JSON.value}` the same
structures travel as JSON, and the reply has the encoding of the request. A request body is at most
{MAX_BODY_BYTES} bytes and {MAX_VALUES} values, keys included; map keys are texts; an empty one
stands for an empty map. Unknown members are ignored.

Every request carries `{CONTEXT_HEADER}`, a compact JWS whose claims are the schema `Claims`. Its
`jti` is also the idempotency key: a change is made at most once for each.

A *refusal* is an ordinary reply: the operation was considered, and this is its result. A *service
error* has the headers `{ERROR_HEADER}` and `{ERROR_CODE_HEADER}`: it was not considered.
`UNAVAILABLE` may be sent again with the same `jti` and a fresh token.
"""

_Schema = dict[str, Any]

_CONTENT_TYPE: _Schema = {"type": "string", "enum": [each.value for each in Encoding]}
_DEADLINE: _Schema = {
    "type": "string",
    "pattern": "^[0-9]{1,16}$",
    "description": "Until when the caller waits, in Unix milliseconds.",
}
_TRACE: _Schema = {"type": "string", "description": "W3C trace context."}
_REQUEST_ID: _Schema = {
    "type": "string",
    "format": "uuid",
    "description": "The `jti` of a verified token, else a fresh id.",
}


def servers() -> dict[str, Any]:
    """Return the servers: one NATS bus, with variables for its address."""
    return {
        "bus": {
            "host": "{host}:{port}",
            "protocol": "nats",
            "variables": {
                "host": {"default": "127.0.0.1"},
                "port": {"default": "4222"},
            },
            "security": [{"$ref": "#/components/securitySchemes/busUser"}],
        }
    }


def message_traits() -> dict[str, Any]:
    """Return the headers of each kind of message."""
    return {
        "hostRequest": _headers(_request(HOST_AUDIENCE), CONTEXT_HEADER),
        "adminRequest": _headers(_request(ADMIN_AUDIENCE), CONTEXT_HEADER),
        "executeRequest": _headers(
            {
                **_request(RUNNER_AUDIENCE),
                CONTENT_TYPE_HEADER: {"const": Encoding.JSON.value},
                IDEMPOTENCY_HEADER: {
                    "type": "string",
                    "format": "uuid",
                    "description": "The occurrence: the same for every attempt.",
                },
            },
            CONTEXT_HEADER,
            IDEMPOTENCY_HEADER,
        ),
        "reply": _headers(_reply(), CONTENT_TYPE_HEADER, REQUEST_ID_HEADER),
        "serviceError": _headers(
            {**_reply(), **_error()},
            CONTENT_TYPE_HEADER,
            REQUEST_ID_HEADER,
            ERROR_HEADER,
            ERROR_CODE_HEADER,
        ),
    }


def _request(audience: str) -> _Schema:
    return {
        CONTEXT_HEADER: {"type": "string", "description": f"A JWS with the `aud` `{audience}`."},
        CONTENT_TYPE_HEADER: _CONTENT_TYPE,
        DEADLINE_HEADER: _DEADLINE,
        TRACE_HEADER: _TRACE,
    }


def _reply() -> _Schema:
    return {CONTENT_TYPE_HEADER: _CONTENT_TYPE, REQUEST_ID_HEADER: _REQUEST_ID}


def _error() -> _Schema:
    numbers = sorted({str(number) for number in NUMBERS.values()})
    return {
        ERROR_HEADER: {"type": "string", "description": "The message, as in the body."},
        ERROR_CODE_HEADER: {"type": "string", "enum": numbers},
    }


def _headers(properties: _Schema, *required: str) -> dict[str, Any]:
    return {
        "headers": {"type": "object", "properties": properties, "required": list(required)},
    }

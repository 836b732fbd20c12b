"""The contract as an AsyncAPI 3 document: operations, replies, errors, events, executions.

It describes the service: what the service receives, a client sends. Served by
``ext-scheduler asyncapi``; a copy is in ``docs/api``.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from contracts.admin import ADMIN_OPS, AdminOperation
from contracts.encoding import Encoding
from contracts.errors import NUMBERS, Code
from contracts.events import Event, EventType
from contracts.execution import ExecuteRequest, ExecuteResponse
from contracts.publish.asyncapi_parts import DESCRIPTION, message_traits, servers
from contracts.publish.schemas import (
    AnyOperation,
    description_of,
    is_outcome,
    refusals,
    schemas,
    service_errors,
)
from contracts.schedules import HOST_OPS
from contracts.subjects import (
    EVENTS_PREFIX,
    EXECUTE_SUBJECT,
    RUNNER_QUEUE,
    SCHEDULER_QUEUE,
    admin_subject,
    host_subject,
)

VERSION = "3.0.0"
"""The version of AsyncAPI."""

JsonObject = dict[str, Any]


class _Endpoint(Struct, frozen=True):
    """One operation of the service under its unique name, such as ``admin.runNow``."""

    name: str
    op: str
    subject: str
    operation: AnyOperation
    refusals: Sequence[Code]
    trait: str


def document(version: str) -> JsonObject:
    """Build the document; ``version`` is that of the service."""
    endpoints = _endpoints()
    return {
        "asyncapi": VERSION,
        "info": {
            "title": "Extension scheduler",
            "version": version,
            "description": DESCRIPTION,
        },
        "defaultContentType": Encoding.MSGPACK.value,
        "servers": servers(),
        "channels": {**_channels(endpoints), **_execute_channels(), **_event_channel()},
        "operations": {
            **{endpoint.name: _operation(endpoint) for endpoint in endpoints},
            "runner.execute": _execute_operation(),
            "events": _event_operation(),
        },
        "components": {
            "securitySchemes": {"busUser": {"type": "userPassword"}},
            "messageTraits": message_traits(),
            "schemas": schemas("#/components/schemas/{name}"),
        },
    }


def _endpoints() -> list[_Endpoint]:
    host = [
        _Endpoint(f"host.{op}", op, host_subject(op), row, refusals(op, row), "hostRequest")
        for op, row in HOST_OPS.items()
    ]
    admin = [
        _Endpoint(f"admin.{op}", op, admin_subject(op), row, refusals(op, row), "adminRequest")
        for op, row in ADMIN_OPS.items()
    ]
    return host + admin


def _channels(endpoints: Sequence[_Endpoint]) -> JsonObject:
    channels: JsonObject = {}
    for endpoint in endpoints:
        channels[endpoint.name] = {
            "address": endpoint.subject,
            "messages": {"request": _message(endpoint.trait, endpoint.operation.input)},
        }
        channels[f"{endpoint.name}.reply"] = _reply_channel(_replies(endpoint))
    return channels


def _replies(endpoint: _Endpoint) -> JsonObject:
    replies = {"result": _message("reply", endpoint.operation.output)}
    if endpoint.refusals:
        shape = (
            endpoint.operation.output.__name__ if is_outcome(endpoint.operation) else "ErrorBody"
        )
        replies["refusal"] = {
            "title": "A negative result",
            "traits": [_trait("reply")],
            "payload": _negative(shape, endpoint.refusals),
        }
    replies["serviceError"] = {
        "title": "The operation was not considered",
        "traits": [_trait("serviceError")],
        "payload": _negative("ErrorBody", service_errors(endpoint.op, endpoint.operation)),
    }
    return replies


def _negative(shape: str, codes: Sequence[Code]) -> JsonObject:
    narrower = {
        "type": "object",
        "properties": {
            "success": {"const": False},
            "code": {"enum": [code.value for code in codes]},
            "error": {"type": "string"},
        },
        "required": ["success", "code", "error"],
    }
    return {"allOf": [_schema(shape), narrower], "x-codes": _numbers(codes)}


def _numbers(codes: Sequence[Code]) -> Mapping[str, int]:
    return {code.value: NUMBERS[code] for code in codes}


def _operation(endpoint: _Endpoint) -> JsonObject:
    operation = endpoint.operation
    part: JsonObject = {
        "action": "receive",
        "channel": _channel(endpoint.name),
        "title": endpoint.op,
        "messages": [_message_of(endpoint.name, "request")],
        "bindings": _queue(SCHEDULER_QUEUE),
        "reply": {
            "channel": _channel(f"{endpoint.name}.reply"),
            "messages": [
                _message_of(f"{endpoint.name}.reply", name) for name in _replies(endpoint)
            ],
        },
        "x-mutates": operation.mutates,
    }
    if isinstance(operation, AdminOperation):
        part["x-permission"] = operation.permission
        part["x-operator-only"] = operation.operator_only
    return part


def _execute_channels() -> JsonObject:
    json = {"contentType": Encoding.JSON.value}
    return {
        "runner.execute": {
            "address": EXECUTE_SUBJECT,
            "description": "One call of an extension, for whichever Runner or bridge takes it.",
            "messages": {"request": {**_message("executeRequest", ExecuteRequest), **json}},
        },
        "runner.execute.reply": _reply_channel(
            {"response": {**_message("reply", ExecuteResponse), **json}}
        ),
    }


def _execute_operation() -> JsonObject:
    return {
        "action": "send",
        "channel": _channel("runner.execute"),
        "title": "execute",
        "description": f"Runners answer in the queue group `{RUNNER_QUEUE}`.",
        "messages": [_message_of("runner.execute", "request")],
        "reply": {
            "channel": _channel("runner.execute.reply"),
            "messages": [_message_of("runner.execute.reply", "response")],
        },
    }


def _event_channel() -> JsonObject:
    return {
        "events": {
            "address": f"{EVENTS_PREFIX}.{{tenantId}}.{{installId}}.{{type}}",
            "description": "Sent after the commit, at least once; `id` identifies repeats.",
            "parameters": {
                "tenantId": {
                    "description": "~ and base64url where the id holds more than A-Za-z0-9_-."
                },
                "installId": {"description": "The install's UUID."},
                "type": {
                    "description": "Its dot makes it two tokens of the subject.",
                    "enum": [each.value for each in EventType],
                },
            },
            "messages": {
                "event": {
                    "title": "Event",
                    "contentType": Encoding.JSON.value,
                    "payload": _schema(Event.__name__),
                }
            },
        }
    }


def _event_operation() -> JsonObject:
    return {
        "action": "send",
        "channel": _channel("events"),
        "title": "events",
        "messages": [_message_of("events", "event")],
    }


def _reply_channel(messages: JsonObject) -> JsonObject:
    # The address is the message's reply subject, which is no header: AsyncAPI writes null.
    return {"address": None, "messages": messages}


def _message(trait: str, shape: type[Struct]) -> JsonObject:
    return {
        "title": shape.__name__,
        "description": description_of(shape),
        "traits": [_trait(trait)],
        "payload": _schema(shape.__name__),
    }


def _queue(queue: str) -> JsonObject:
    return {"nats": {"queue": queue, "bindingVersion": "0.1.0"}}


def _trait(name: str) -> JsonObject:
    return {"$ref": f"#/components/messageTraits/{name}"}


def _schema(name: str) -> JsonObject:
    return {"$ref": f"#/components/schemas/{name}"}


def _channel(name: str) -> JsonObject:
    return {"$ref": f"#/channels/{name}"}


def _message_of(channel: str, message: str) -> JsonObject:
    return {"$ref": f"#/channels/{channel}/messages/{message}"}

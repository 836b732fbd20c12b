"""Replies, held against the published contract."""

from functools import cache
from typing import Any

import msgspec
from jsonschema import Draft7Validator

from contracts.publish.asyncapi import document
from contracts.subjects import CONTENT_TYPE_HEADER
from service.messages import Reply


def as_published(realm: str, op: str, reply: Reply) -> Reply:
    """Return the reply, which the document must describe; ``realm`` is host or admin."""
    json = reply.headers[CONTENT_TYPE_HEADER] == "application/json"
    body = (msgspec.json.decode if json else msgspec.msgpack.decode)(reply.body)
    if reply.error is not None:
        kind = "serviceError"
    else:
        kind = "refusal" if body.get("success") is False else "result"
    validator = _validator(f"{realm}.{op}.reply", kind)
    faults = ["no such answer"]
    if validator is not None:
        faults = [error.message for error in validator.iter_errors(body)]
    assert faults == [], f"{op} answered what is not published as {kind}: {body}"
    return reply


@cache
def _validator(channel: str, kind: str) -> Draft7Validator | None:
    published = _document()
    message = published["channels"][channel]["messages"].get(kind)
    if message is None:
        return None
    return Draft7Validator({"allOf": [message["payload"]], "components": published["components"]})


@cache
def _document() -> dict[str, Any]:
    return document("0.0.0")

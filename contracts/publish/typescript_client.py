"""The parts of the TypeScript client that come from the contract; the rest builds on them.

``contract.ts`` has the types and names of the wire, ``host.ts`` a method per host operation.
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from msgspec import Struct

from contracts import subjects
from contracts.context import (
    DEFAULT_LIFETIME_S,
    MAX_LIFETIME_S,
    MAX_TOKEN_BYTES,
    TOKEN_TYPE,
    Claims,
)
from contracts.encoding import MAX_BODY_BYTES, Encoding
from contracts.errors import NUMBERS, ErrorBody
from contracts.execution import ExecuteRequest, ExecuteResponse
from contracts.keys import ED25519_NAMES, HS256, MIN_SECRET_BYTES
from contracts.publish.schemas import schemas
from contracts.publish.typescript import type_declaration
from contracts.publish.typescript_extension import comment
from contracts.schedules import HOST_OPS, Operation

_ALSO: tuple[type[Struct], ...] = (ErrorBody, Claims, ExecuteRequest, ExecuteResponse)
_NAME = re.compile(r'"\$ref": "(\w+)"')

CONSTANTS: Mapping[str, object] = MappingProxyType(
    {
        "HOST_AUDIENCE": subjects.HOST_AUDIENCE,
        "RUNNER_AUDIENCE": subjects.RUNNER_AUDIENCE,
        "EXECUTE_OP": subjects.EXECUTE_OP,
        "EXECUTE_SUBJECT": subjects.EXECUTE_SUBJECT,
        "RUNNER_QUEUE": subjects.RUNNER_QUEUE,
        "CONTEXT_HEADER": subjects.CONTEXT_HEADER,
        "REQUEST_ID_HEADER": subjects.REQUEST_ID_HEADER,
        "DEADLINE_HEADER": subjects.DEADLINE_HEADER,
        "IDEMPOTENCY_HEADER": subjects.IDEMPOTENCY_HEADER,
        "CONTENT_TYPE_HEADER": subjects.CONTENT_TYPE_HEADER,
        "ERROR_CODE_HEADER": subjects.ERROR_CODE_HEADER,
        "TRACE_HEADER": subjects.TRACE_HEADER,
        "JSON_CONTENT_TYPE": Encoding.JSON.value,
        "TOKEN_TYPE": TOKEN_TYPE,
        "HS256": HS256,
        "MIN_SECRET_BYTES": MIN_SECRET_BYTES,
        "DEFAULT_LIFETIME_S": DEFAULT_LIFETIME_S,
        "MAX_LIFETIME_S": MAX_LIFETIME_S,
        "MAX_TOKEN_BYTES": MAX_TOKEN_BYTES,
        "MAX_BODY_BYTES": MAX_BODY_BYTES,
    }
)
"""Names and numbers of the wire that the client needs."""


def files() -> dict[str, str]:
    """Return the generated files by name."""
    return {"contract.ts": _text(_contract()), "host.ts": _text(_host())}


def _text(lines: Iterator[str]) -> str:
    return "\n".join(["// Made from the contract by `make api`.", "", *lines, ""])


def _contract() -> Iterator[str]:
    for name, value in CONSTANTS.items():
        yield f"export const {name} = {json.dumps(value)};"
    yield f"export const ED25519_NAMES: readonly string[] = {json.dumps(sorted(ED25519_NAMES))};"
    changes = [op for op, operation in HOST_OPS.items() if operation.mutates]
    yield "/** The operations that change something, and are repeated under one `jti`. */"
    yield f"export const CHANGES: readonly string[] = {json.dumps(changes)};"
    yield ""
    known = schemas("{name}")
    for name in sorted(_reachable(known)):
        yield from type_declaration(name, known[name])
        yield ""
    yield "/** The number of each code, as in the header `Nats-Service-Error-Code`. */"
    yield "export const NUMBERS: Readonly<Record<Code, number>> = {"
    yield from (f"  {code.value}: {number}," for code, number in NUMBERS.items())
    yield "};"


def _reachable(known: Mapping[str, Any]) -> set[str]:
    """Return the names of the types that host operations and a Runner's messages consist of."""
    found: set[str] = set()
    waiting = [shape.__name__ for shape in _ALSO]
    for operation in HOST_OPS.values():
        waiting += [operation.input.__name__, operation.output.__name__]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += _NAME.findall(json.dumps(known[name]))
    return found


def _host() -> Iterator[str]:
    names = {
        shape.__name__
        for operation in HOST_OPS.values()
        for shape in (operation.input, operation.output)
        if shape.__struct_fields__
    }
    yield f'import type {{ {", ".join(sorted(names))} }} from "./contract.js";'
    yield 'import type { InstallContext, Repeatable, SignedRequests } from "./requests.js";'
    yield ""
    yield from comment(
        "The host operations, on behalf of one install.\n\n"
        "A negative outcome is returned, with `success` false. What kept an operation from being\n"
        "considered at all, and a read that has no result, reject with a `ServiceError`."
    )
    yield "export class SchedulerHost {"
    yield "  readonly #requests: SignedRequests;"
    yield "  readonly #install: InstallContext;"
    yield ""
    yield "  constructor(requests: SignedRequests, install: InstallContext) {"
    yield "    this.#requests = requests;"
    yield "    this.#install = install;"
    yield "  }"
    for op, operation in HOST_OPS.items():
        yield ""
        yield from _method(op, operation)
    yield "}"


def _method(op: str, operation: Operation) -> Iterator[str]:
    output = operation.output.__name__
    parameters = []
    if operation.input.__struct_fields__:
        parameters.append(f"input: {operation.input.__name__}")
    if operation.mutates:
        parameters.append("repeat: Repeatable = {}")
    fields = "input" if operation.input.__struct_fields__ else "{}"
    arguments = f'this.#install, "{op}", {fields}' + (", repeat" if operation.mutates else "")
    kind = "made at most once for each `jti`" if operation.mutates else "a read"
    yield f"  /** `{subjects.host_subject(op)}`, {kind}. */"
    yield f"  {op}({', '.join(parameters)}): Promise<{output}> {{"
    yield f"    return this.#requests.ask<{output}>({arguments});"
    yield "  }"


if __name__ == "__main__":
    for file_name, text in files().items():
        Path(sys.argv[1], file_name).write_text(text)

"""The vectors: tokens, bodies, replies and frames as JSON, for a test in any language.

``python -m devstack.conformance.vectors`` writes the copies in ``data``; they are made from the
contract, and the same each time.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from contracts.context import Key
from contracts.encoding import Encoding, encode
from contracts.errors import NUMBERS, Code, ErrorBody
from contracts.execution import ExecuteResponse, classify_status
from contracts.schedules import (
    CreateInput,
    CreateOutput,
    DeleteInput,
    DeleteOutput,
    EndpointInfo,
    GetEndpointsInput,
    GetEndpointsOutput,
    GetInput,
    GetOutput,
    ListInput,
    ListOutput,
    ScheduleInfo,
    UpdateInput,
    UpdateOutput,
)
from contracts.subjects import (
    CONTENT_TYPE_HEADER,
    CONTEXT_HEADER,
    DEADLINE_HEADER,
    ERROR_CODE_HEADER,
    ERROR_HEADER,
    EXECUTE_OP,
    EXECUTE_SUBJECT,
    HOST_AUDIENCE,
    IDEMPOTENCY_HEADER,
    REQUEST_ID_HEADER,
    RUNNER_AUDIENCE,
    host_subject,
)
from devstack.conformance.execute import MALFORMED
from devstack.conformance.samples import (
    INSTALL_ID,
    JTI,
    JWKS,
    NOW,
    OCCURRENCE,
    SCHEDULE_ID,
    execute_document,
    foreign_key,
    sample_keys,
)
from devstack.conformance.tokens import TokenRequest, token_cases, valid_token

DIRECTORY = Path(__file__).parent / "data"

_CREATE = CreateInput(endpoint="POST /api/heartbeat", cron="*/15 * * * *")
_SCHEDULE = ScheduleInfo(
    id=SCHEDULE_ID,
    endpoint_path="/api/heartbeat",
    endpoint_method="POST",
    name="Heartbeat täglich",
    cron="*/15 * * * *",
    timezone="Europe/Berlin",
    enabled=True,
    payload={"n": 1, "x": 1.5, "list": [None, True, "é"]},
    last_run_at=None,
    last_run_status=None,
    last_error=None,
    created_at="2026-01-01T00:00:00.000Z",
    updated_at="2026-01-01T00:00:00.000Z",
    next_run_at="2026-01-01T00:15:00.000Z",
    revision=1,
)
_ENDPOINT = EndpointInfo(
    id=str(INSTALL_ID), method="POST", path="/api/heartbeat", handler="beat", schedulable=True
)
_OPERATIONS: Mapping[str, tuple[msgspec.Struct, msgspec.Struct]] = {
    "list": (ListInput(), ListOutput([_SCHEDULE])),
    "get": (GetInput(SCHEDULE_ID), GetOutput(None)),
    "create": (_CREATE, CreateOutput(success=True, schedule_id=SCHEDULE_ID)),
    "update": (
        UpdateInput(schedule_id=SCHEDULE_ID, payload=None, expected_revision=1),
        UpdateOutput(success=True),
    ),
    "delete": (DeleteInput(SCHEDULE_ID), DeleteOutput(success=True)),
    "getEndpoints": (GetEndpointsInput(), GetEndpointsOutput([_ENDPOINT])),
}
_RESPONSES = {
    "success": ExecuteResponse(status=200, headers={"x": "y"}, body_b64="e30="),
    "redirect is a success": ExecuteResponse(status=303),
    "failure of the extension": ExecuteResponse(status=500),
    "failure with an error": ExecuteResponse(status=502, error="Runner is down"),
    "error beside a good status": ExecuteResponse(status=200, error="guest trapped"),
    "status 100": ExecuteResponse(status=100),
    "status of nothing": ExecuteResponse(status=0),
    "status 600": ExecuteResponse(status=600),
}


def documents() -> dict[str, Any]:
    """Return the content of each file by its name."""
    return {
        "keys.json": {"keys": JWKS},
        "tokens.json": [entry for key in sample_keys() for entry in _tokens(key)],
        "bodies.json": {
            "operations": {
                op: {"input": _both(given), "output": _both(output)}
                for op, (given, output) in _OPERATIONS.items()
            },
            "refusals": {
                code.value: {"number": number, **_both(_refusal(code))}
                for code, number in NUMBERS.items()
            },
        },
        "execute.json": {
            "request": execute_document(),
            "malformed": {name: _broken(change) for name, change in MALFORMED.items()},
            "responses": [_response(name, shown) for name, shown in _RESPONSES.items()],
        },
        "frames.json": dict(_frames()),
    }


def written(document: object) -> bytes:
    """Return a file's bytes."""
    return msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n"


def write(directory: Path) -> list[Path]:
    """Write the files, and return where they are. Raises OSError."""
    directory.mkdir(parents=True, exist_ok=True)
    files = []
    for name, document in documents().items():
        files.append(directory / name)
        files[-1].write_bytes(written(document))
    return files


def _request(key: Key, body: bytes) -> TokenRequest:
    host = HOST_AUDIENCE in key.audiences
    return TokenRequest(
        key=key,
        foreign=foreign_key(key),
        audience=HOST_AUDIENCE if host else RUNNER_AUDIENCE,
        op="create" if host else EXECUTE_OP,
        body=body,
        now=NOW,
        jti=JTI,
        install_id=INSTALL_ID if host else None,
    )


def _tokens(key: Key) -> Iterator[dict[str, Any]]:
    request = _request(key, encode(_CREATE, Encoding.JSON))
    for case in token_cases(request):
        yield {
            "name": f"{key.kid}: {case.name}",
            "audience": request.audience,
            "op": request.op,
            "body": request.body.decode(),
            "now": request.now,
            "token": case.token,
            "accepted": case.reason is None,
            "reason": case.reason,
        }


def _both(value: object) -> dict[str, str]:
    return {
        "json": encode(value, Encoding.JSON).decode(),
        "msgpackHex": encode(value, Encoding.MSGPACK).hex(),
    }


def _refusal(code: Code) -> ErrorBody:
    if code is Code.RATE_LIMITED:
        return ErrorBody(code=code, error="Too many schedule changes", retry_after_ms=12_345)
    if code is Code.VALIDATION_FAILED:
        return ErrorBody(code=code, error="Required", field_errors={"cron": "Required"})
    return ErrorBody(code=code, error="What a person reads")


def _broken(change: Mapping[str, Any] | bytes) -> dict[str, Any]:
    if isinstance(change, bytes):
        return {"body": change.decode(), "status": 400}
    whole = msgspec.to_builtins(execute_document()) | change
    return {"body": msgspec.json.encode(whole).decode(), "status": 400}


def _response(name: str, response: ExecuteResponse) -> dict[str, Any]:
    status = classify_status(response.status)
    seen = "failure" if response.error is not None else status.value
    return {"name": name, "body": encode(response, Encoding.JSON).decode(), "is": seen}


def _frames() -> Iterator[tuple[str, Any]]:
    """Return the bytes on the wire of a create and of an execute request, and of their replies."""
    keys = {key.kid: key for key in sample_keys()}
    body = encode(_CREATE, Encoding.JSON)
    reply_to = "_INBOX_runner.q7Zk1"
    host_headers = {
        CONTENT_TYPE_HEADER: Encoding.JSON.value,
        CONTEXT_HEADER: valid_token(_request(keys["example-hs256"], body)),
        DEADLINE_HEADER: str((NOW + 6) * 1000),
    }
    yield "create request", _hpub(host_subject("create"), reply_to, host_headers, body)
    answered = {CONTENT_TYPE_HEADER: Encoding.JSON.value, REQUEST_ID_HEADER: str(JTI)}
    created = encode(_OPERATIONS["create"][1], Encoding.JSON)
    yield "create reply", _hmsg(reply_to, answered, created)
    refused = {
        ERROR_HEADER: "Request is not authorized",
        ERROR_CODE_HEADER: str(NUMBERS[Code.UNAUTHORIZED]),
        **answered,
    }
    error = ErrorBody(code=Code.UNAUTHORIZED, error="Request is not authorized")
    yield "create refused", _hmsg(reply_to, refused, encode(error, Encoding.JSON))
    document = encode(execute_document(), Encoding.JSON)
    execute_headers = {
        CONTEXT_HEADER: valid_token(_request(keys["worker-ed25519"], document)),
        IDEMPOTENCY_HEADER: OCCURRENCE,
        DEADLINE_HEADER: str((NOW + 36) * 1000),
    }
    worker_inbox = "_INBOX_service.w1.1"
    yield "execute request", _hmsg(EXECUTE_SUBJECT, execute_headers, document, worker_inbox)
    answer = encode(_RESPONSES["success"], Encoding.JSON)
    yield "execute reply", _hpub(worker_inbox, "", answered, answer)


def _hpub(subject: str, reply_to: str, headers: Mapping[str, str], body: bytes) -> dict[str, str]:
    return _frame(("HPUB", subject, reply_to), headers, body)


def _hmsg(
    subject: str, headers: Mapping[str, str], body: bytes, reply_to: str = ""
) -> dict[str, str]:
    return _frame(("HMSG", subject, "1", reply_to), headers, body)


def _frame(words: tuple[str, ...], headers: Mapping[str, str], body: bytes) -> dict[str, str]:
    lines = ["NATS/1.0", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    head = "\r\n".join(lines).encode()
    sizes = (str(len(head)), str(len(head) + len(body)))
    first = " ".join(word for word in (*words, *sizes) if word).encode()
    frame = first + b"\r\n" + head + body + b"\r\n"
    return {"text": frame.decode(), "hex": frame.hex()}


if __name__ == "__main__":
    write(DIRECTORY)

"""A scheduler on the bus that does as the contract says, and breaks it in one way on purpose."""

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from msgspec import UNSET, Struct
from nats.aio.client import Client
from nats.aio.msg import Msg

from contracts.capabilities import SCHEDULER
from contracts.context import Claims, ContextRefused, KeySet, verify
from contracts.deadline import deadline_passed
from contracts.encoding import (
    MAX_BODY_BYTES,
    Encoding,
    MalformedBody,
    UnknownContentType,
    decode_map,
    encode,
    negotiate,
)
from contracts.errors import NUMBERS, Code
from contracts.subjects import (
    CONTENT_TYPE_HEADER,
    CONTEXT_HEADER,
    DEADLINE_HEADER,
    ERROR_CODE_HEADER,
    ERROR_HEADER,
    HOST_AUDIENCE,
    REQUEST_ID_HEADER,
    SCHEDULER_QUEUE,
    host_subject,
)
from contracts.times import wire_time
from service.rules.fields import check_create, check_schedule_id, check_update
from service.rules.limits import Limits

Members = dict[str, Any]
INSTALL_ID = UUID("5a8e5c5e-0000-4000-8000-000000000002")
TENANT, VERSION = "acme", str(UUID("5a8e5c5e-0000-4000-8000-000000000003"))
ENDPOINTS = [
    {"id": str(UUID(int=1)), "method": "GET", "path": "/api/a", "handler": "a"},
    {"id": str(UUID(int=2)), "method": "POST", "path": "/api/report", "handler": "b"},
]
ENDPOINT = "POST /api/report"


class Request(Struct, frozen=True):
    """A verified request and the members of its body."""

    op: str
    claims: Claims
    body: bytes
    members: Members


class Refused(Exception):
    """A request that is not considered; ``negative`` where it was, and the result is negative."""

    def __init__(self, code: Code, *, negative: bool = False, **fields: str) -> None:
        super().__init__(code)
        self.code = code
        self.negative = negative
        self.fields = fields


class ConformingScheduler:
    """Answers the host operations for one install, from memory and without its limits.

    ``fault`` names the one way in which it breaks the contract.
    """

    def __init__(self, keys: KeySet, fault: str = "") -> None:
        self._keys = keys
        self._fault = fault
        self._schedules: dict[str, Members] = {}
        self._results: dict[UUID, tuple[str, bytes, Members]] = {}

    def reply(self, op: str, body: bytes, headers: Mapping[str, str]) -> tuple[Members, bytes]:
        """Return headers and body of the reply."""
        request_id, number = str(uuid4()), {}
        encoding = Encoding.JSON
        try:
            encoding = self._encoding(headers.get(CONTENT_TYPE_HEADER))
            claims = self._verified(op, body, headers.get(CONTEXT_HEADER))
            request_id = str(claims.jti)
            members = self._considered(op, claims, body, encoding, headers)
        except Refused as refused:
            members = self._refusal(refused)
            if refused.negative is self._has("swaps results and service errors"):
                number = {
                    ERROR_HEADER: str(members["error"]),
                    ERROR_CODE_HEADER: str(NUMBERS[refused.code]),
                }
        return self._written(members, encoding, request_id, number, headers)

    def _has(self, *faults: str) -> bool:
        return self._fault in faults

    def _encoding(self, content_type: str | None) -> Encoding:
        if self._has("compares content types letter by letter") and content_type:
            [exact] = [e for e in Encoding if e.value == content_type] or [Encoding.MSGPACK]
            return exact
        if self._has("requires a content type") and content_type is None:
            raise Refused(Code.VALIDATION_FAILED)
        try:
            return negotiate(content_type)
        except UnknownContentType:
            if self._has("takes an unknown content type for JSON"):
                return Encoding.JSON
            raise Refused(Code.VALIDATION_FAILED) from None

    def _verified(self, op: str, body: bytes, token: str | None) -> Claims:
        now = time.time()
        try:
            return verify(token, self._keys, audience=HOST_AUDIENCE, op=op, body=body, now=now)
        except ContextRefused as refused:
            if not self._has(f"accepts {refused.reason}"):
                told = refused.reason if self._has("explains refused contexts") else ""
                raise Refused(Code.UNAUTHORIZED, reason=told) from None
        return Claims(
            iss="", aud="", iat=0, exp=0, jti=uuid4(), op=op, body_sha256="", install_id=INSTALL_ID
        )

    def _considered(
        self,
        op: str,
        claims: Claims,
        body: bytes,
        encoding: Encoding,
        headers: Mapping[str, str],
    ) -> Members:
        late = deadline_passed(headers.get(DEADLINE_HEADER), time.time())
        if late and not self._has("ignores deadlines"):
            raise Refused(Code.UNAVAILABLE)
        request = Request(op, claims, body, self._read(body, encoding))
        self._check_install(claims)
        if op not in {"create", "update", "delete"}:
            return self._answered_read(request)
        if kept := self._results.get(claims.jti):
            same_op = kept[0] == op or self._has("repeats a jti for another operation")
            same_body = kept[1] == body or self._has("repeats a jti for another body")
            if not (same_op and same_body):
                raise Refused(Code.CONFLICT)
            if not self._has("makes a change again"):
                return kept[2]
        result = getattr(self, f"_{op}")(request.members)
        self._results[claims.jti] = (op, body, result)
        return {**result}

    def _read(self, body: bytes, encoding: Encoding) -> Members:
        if len(body) > MAX_BODY_BYTES and not self._has("takes bodies of any size"):
            raise Refused(Code.VALIDATION_FAILED)
        if not body and self._has("takes an empty body for malformed"):
            raise Refused(Code.VALIDATION_FAILED)
        try:
            members = decode_map(body, encoding)
        except MalformedBody:
            if self._has("takes a malformed body for an empty one"):
                return {}
            raise Refused(Code.VALIDATION_FAILED) from None
        if "later" in members and self._has("refuses unknown members"):
            raise Refused(Code.VALIDATION_FAILED)
        return members

    def _check_install(self, claims: Claims) -> None:
        if claims.install_id != INSTALL_ID and not self._has("ignores the install"):
            raise Refused(Code.NOT_FOUND)
        for fault, claim, right in (
            ("ignores the tenant", claims.tenant_id, TENANT),
            ("ignores the version", claims.version_id, VERSION),
        ):
            if claim not in {None, right} and not self._has(fault):
                raise Refused(Code.DENIED)
        providers = claims.providers
        if providers is None and self._has("requires providers"):
            raise Refused(Code.DENIED)
        without = providers is not None and SCHEDULER not in providers
        if without and not self._has("ignores providers"):
            raise Refused(Code.DENIED)

    def _answered_read(self, request: Request) -> Members:
        members: Members
        if request.op == "list":
            members = {"schedules": list(self._schedules.values())}
        elif request.op == "getEndpoints":
            members = {"endpoints": [{**e, "schedulable": True} for e in ENDPOINTS]}
            if self._has("orders endpoints by method, descending"):
                members["endpoints"].reverse()
            if self._has("leaves out what may be scheduled"):
                members = {"endpoints": ENDPOINTS}
        else:
            checked = check_schedule_id(request.members)
            if checked.errors and not self._has("takes a malformed id for an unknown one"):
                raise Refused(Code.VALIDATION_FAILED, negative=True, **checked.errors)
            schedule = self._schedules.get(str(checked.schedule_id))
            if schedule is None and self._has("misses an unknown schedule"):
                raise Refused(Code.NOT_FOUND, negative=True)
            members = {"schedule": schedule}
        return members | ({"success": True} if self._has("says success of a read") else {})

    def _create(self, raw: Members) -> Members:
        checked = check_create(raw, Limits())
        errors = dict(checked.errors)
        if raw.get("endpoint") != ENDPOINT:
            errors = {"endpoint": "Endpoint not found or not schedulable", **errors}
        self._check(errors)
        names = {schedule["name"] for schedule in self._schedules.values()}
        if checked.name in names and not self._has("takes a name twice"):
            raise Refused(Code.CONFLICT, negative=True, name="Name already in use")
        id_, now = str(uuid4()), self._time()
        self._schedules[id_] = self._info(id_, raw, now)
        return {"scheduleId": id_} | ({} if self._has("omits success") else {"success": True})

    def _update(self, raw: Members) -> Members:
        if self._has("takes null for absent"):
            raw = {name: value for name, value in raw.items() if value is not None}
        checked = check_update(raw, Limits())
        self._check(checked.errors)
        schedule = self._found(checked.schedule_id)
        expected = checked.expected_revision
        if expected not in {UNSET, schedule["revision"]} and not self._has("ignores revisions"):
            raise Refused(Code.CONFLICT, negative=True)
        for name in ("cron", "timezone", "enabled", "name", "payload"):
            if name in raw:
                schedule[name] = raw[name]
            elif self._has("takes absent for null") and name == "name":
                schedule[name] = None
        schedule["revision"] += 0 if self._has("counts no revisions") else 1
        return {"success": True}

    def _delete(self, raw: Members) -> Members:
        checked = check_schedule_id(raw)
        self._check(checked.errors)
        if str(checked.schedule_id) not in self._schedules and self._has("deletes twice"):
            return {"success": True}
        del self._schedules[self._found(checked.schedule_id)["id"]]
        return {"success": True}

    def _found(self, id_: UUID | None) -> Members:
        if str(id_) not in self._schedules:
            raise Refused(Code.NOT_FOUND, negative=True)
        return self._schedules[str(id_)]

    def _check(self, errors: Mapping[str, str]) -> None:
        if errors and self._has("names one field error only"):
            errors = dict(list(errors.items())[:1])
        if errors:
            raise Refused(Code.VALIDATION_FAILED, negative=True, **errors)

    def _info(self, id_: str, raw: Members, now: str) -> Members:
        method, path = ENDPOINT.split()
        info = {
            "id": id_,
            "endpointPath": path,
            "endpointMethod": method,
            "name": raw.get("name"),
            "cron": raw["cron"],
            "timezone": raw.get("timezone") or "UTC",
            "enabled": True,
            "payload": raw.get("payload"),
            "lastRunAt": None,
            "lastRunStatus": None,
            "lastError": None,
            "createdAt": now,
            "updatedAt": now,
            "nextRunAt": now,
            "revision": 1,
        }
        if self._has("loses characters of a payload"):
            info["payload"] = {**info["payload"], "text": "?"}
        if self._has("leaves out what is null"):
            return {name: value for name, value in info.items() if value is not None}
        return info

    def _time(self) -> str:
        now = datetime.now(UTC)
        return now.isoformat() if self._has("writes times its own way") else wire_time(now)

    def _refusal(self, refused: Refused) -> Members:
        first = next(iter(refused.fields.values()), "") or f"Refused: {refused.code}"
        members: Members = {"code": refused.code.value, "error": first}
        if not self._has("omits success"):
            members["success"] = False
        if refused.negative and refused.fields:
            members["fieldErrors"] = refused.fields
            if self._has("sums field errors up"):
                members["error"] = f"{len(refused.fields)} fields are wrong"
        return members

    def _written(
        self,
        members: Members,
        encoding: Encoding,
        request_id: str,
        number: Mapping[str, str],
        asked: Mapping[str, str],
    ) -> tuple[dict[str, str], bytes]:
        other = Encoding.JSON if encoding is Encoding.MSGPACK else Encoding.MSGPACK
        if self._has("answers in the other encoding"):
            encoding = other
        body = encode(members, other if self._has("labels the other encoding") else encoding)
        headers = {
            CONTENT_TYPE_HEADER: encoding.value,
            REQUEST_ID_HEADER: str(uuid4()) if self._has("makes request ids up") else request_id,
            **number,
        }
        for fault, name in (
            ("drops the request id", REQUEST_ID_HEADER),
            ("drops the content type", CONTENT_TYPE_HEADER),
            ("drops the number of an error", ERROR_CODE_HEADER),
            ("drops the text of an error", ERROR_HEADER),
        ):
            if self._has(fault):
                headers.pop(name, None)
        return headers | (dict(asked) if self._has("returns the headers") else {}), body


@asynccontextmanager
async def conforming_scheduler(
    client: Client, keys: KeySet, fault: str = ""
) -> AsyncIterator[None]:
    """Answer the host operations on a connection that its owner closes."""
    scheduler = ConformingScheduler(keys, fault)

    async def receive(message: Msg) -> None:
        if fault == "keeps silent about malformed bodies" and message.data in {b"{", b"\xc1"}:
            return
        op = message.subject.rpartition(".")[2]
        headers, body = scheduler.reply(op, message.data, dict(message.headers or {}))
        await client.publish(message.reply, body, headers=headers or None)

    subscription = await client.subscribe(host_subject("*"), queue=SCHEDULER_QUEUE, cb=receive)
    await client.flush()
    try:
        yield
    finally:
        await subscription.unsubscribe()

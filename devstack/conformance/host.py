"""The host side: the kit asks as a Runner does, a scheduler service is judged.

It creates schedules under names of its own in one install, and deletes what it created. That takes
three changes of the ten that an install has in a minute.
"""

import re
import time
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from msgspec import Struct, structs

from contracts.capabilities import SCHEDULER
from contracts.encoding import MAX_BODY_BYTES, Encoding
from contracts.errors import Code
from contracts.schedules import EndpointInfo, ScheduleInfo
from contracts.subjects import CONTEXT_HEADER, REQUEST_ID_HEADER
from devstack.conformance.cases import Case, expect
from devstack.conformance.scheduler_peer import SchedulerPeer, SchedulerRequest
from devstack.conformance.tokens import TokenCase, token_cases

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
CRON = "17 3 * * *"
JSON, MSGPACK = Encoding.JSON, Encoding.MSGPACK


async def _list(peer: SchedulerPeer) -> None:
    for encoding in Encoding:
        answer = await peer.request("list", encoding=encoding).send()
        schedules = answer.expect_result().get("schedules")
        expect(isinstance(schedules, list), "no list of schedules")
        expect(answer.encoding is encoding, f"asked in {encoding.value}, answered in another")
        expect("success" not in answer.members, "a read that succeeded has a member success")


async def _empty_body(peer: SchedulerPeer) -> None:
    for encoding in Encoding:
        request = peer.request("list", encoding=encoding)
        request.body = b""
        (await request.send()).expect_result()


async def _endpoints(peer: SchedulerPeer) -> None:
    answer = await peer.request("getEndpoints", encoding=JSON).send()
    endpoints = answer.expect_result()["endpoints"]
    for endpoint in endpoints:
        _expect_members(EndpointInfo, endpoint, "an endpoint")
    order = [(endpoint["path"], endpoint["method"]) for endpoint in endpoints]
    expect(order == sorted(order), "endpoints are not ordered by path, then method")
    usable = [f"{e['method']} {e['path']}" for e in endpoints if e["schedulable"] is True]
    expect(peer.endpoint in usable, f"{peer.endpoint} is none of those that may be scheduled")


async def _unknown_members(peer: SchedulerPeer) -> None:
    (await peer.request("list", {"later": [1]}).send()).expect_result()


async def _get(peer: SchedulerPeer) -> None:
    unknown = await peer.request("get", {"scheduleId": str(uuid4())}).send()
    expect(unknown.expect_result() == {"schedule": None}, "an unknown schedule is not null")
    malformed = await peer.request("get", {"scheduleId": "1"}).send()
    malformed.expect_negative(Code.VALIDATION_FAILED, "scheduleId")


async def _headers(peer: SchedulerPeer) -> None:
    request = peer.request("list", encoding=JSON)
    headers = (await request.send()).reply.headers
    expect(headers.get(REQUEST_ID_HEADER) == str(request.jti), "Ext-Request-Id is not the jti")
    expect(CONTEXT_HEADER not in headers, "the reply has the request's own headers")


async def _field_errors(peer: SchedulerPeer) -> None:
    wrong = {"endpoint": "GET /none/such", "cron": "* * * * *", "timezone": 7, "payload": "x"}
    answer = await peer.request("create", wrong, JSON).send()
    answer.expect_negative(Code.VALIDATION_FAILED, "endpoint", "cron", "timezone", "payload")
    first = answer.members["fieldErrors"]["endpoint"]
    expect(answer.members["error"] == first, "error does not repeat the first field error")


async def _life(peer: SchedulerPeer) -> None:
    """Create, read, change and delete a schedule, under every rule of repeating."""
    name = f"conformance {uuid4()}"
    sent = {
        "endpoint": peer.endpoint,
        "cron": CRON,
        "name": name,
        "payload": {"text": "ü", "x": 1.0},
    }
    create = peer.request("create", sent)
    created = (await create.send()).expect_result()
    try:
        await _judge_life(peer, create, created, sent)
    finally:
        deleted = await peer.request("delete", {"scheduleId": created["scheduleId"]}).send()
    deleted.expect_result()
    again = await peer.request("delete", {"scheduleId": created["scheduleId"]}).send()
    again.expect_negative(Code.NOT_FOUND)


async def _judge_life(
    peer: SchedulerPeer,
    create: SchedulerRequest,
    created: Mapping[str, Any],
    sent: Mapping[str, Any],
) -> None:
    id_ = created["scheduleId"]
    expect(created.get("success") is True, "a change that was made has no success true")
    repeated = (await create.send()).expect_result()
    expect(repeated == created, "the same jti with a fresh token created again")
    taken = await peer.request("create", sent).send()
    taken.expect_negative(Code.CONFLICT, "name")
    for op, fields in (("create", {**sent, "name": "x"}), ("delete", sent)):
        other = peer.request(op, fields)
        other.jti = create.jti
        (await other.send()).expect_error(Code.CONFLICT)
    seen = (await peer.request("get", {"scheduleId": id_}).send()).expect_result()["schedule"]
    _expect_members(ScheduleInfo, seen, "a schedule")
    expect(seen["payload"] == sent["payload"], f"the payload came back as {seen['payload']}")
    for name in ("createdAt", "updatedAt", "nextRunAt"):
        expect(bool(TIME.fullmatch(str(seen[name]))), f"{name} is written as {seen[name]}")
    nothing = {"scheduleId": id_, "cron": None}
    (await peer.request("update", nothing).send()).expect_negative(Code.VALIDATION_FAILED, "cron")
    stale = {"scheduleId": id_, "enabled": False, "expectedRevision": seen["revision"] + 1}
    (await peer.request("update", stale).send()).expect_negative(Code.CONFLICT)
    cleared = {"scheduleId": id_, "payload": None, "expectedRevision": seen["revision"]}
    (await peer.request("update", cleared).send()).expect_result()
    after = (await peer.request("get", {"scheduleId": id_}).send()).expect_result()["schedule"]
    expect(after["payload"] is None, "null does not clear a payload")
    expect(after["name"] == sent["name"], "an absent field was changed")
    expect(
        after["revision"] == seen["revision"] + 1, "an update does not raise the revision by one"
    )


def _expect_members(expected: type[Struct], seen: Mapping[str, Any], what: str) -> None:
    members = {field.encode_name for field in structs.fields(expected)}
    expect(members <= seen.keys(), f"{what} lacks {sorted(members - seen.keys())}")


async def _content_type(peer: SchedulerPeer) -> None:
    request = peer.request("list", encoding=JSON)
    request.content_type = "text/plain"
    answer = await request.send()
    answer.expect_error(Code.VALIDATION_FAILED)
    expect(answer.encoding is JSON, "an unknown content type is not answered in JSON")


async def _content_type_spelling(peer: SchedulerPeer) -> None:
    for content_type, encoding in (("Application/JSON; charset=utf-8", JSON), (None, MSGPACK)):
        request = peer.request("list", encoding=encoding)
        request.content_type = content_type
        answer = await request.send()
        answer.expect_result()
        expect(answer.encoding is encoding, f"Content-Type {content_type}: answered in another")


async def _malformed_body(peer: SchedulerPeer) -> None:
    for encoding, body in (
        (JSON, b"{"),
        (JSON, b"[]"),
        (MSGPACK, b"\xc1"),
        (MSGPACK, b"\x81\x01\x02"),
    ):
        request = peer.request("create", encoding=encoding)
        request.body = body
        (await request.send()).expect_error(Code.VALIDATION_FAILED)


async def _large_body(peer: SchedulerPeer) -> None:
    request = peer.request("list", encoding=JSON)
    request.body = b"{}".ljust(MAX_BODY_BYTES + 1)  # readable, so that its size alone is wrong
    (await request.send()).expect_error(Code.VALIDATION_FAILED)


async def _deadline_passed(peer: SchedulerPeer) -> None:
    past = int(time.time() * 1000) - 1000
    answer = await peer.request("list").send(deadline_ms=past)
    answer.expect_error(Code.UNAVAILABLE)


async def _capability(peer: SchedulerPeer) -> None:
    without = await peer.request("list").send(providers=["cap:log.emit"])
    without.expect_error(Code.DENIED)
    (await peer.request("list").send(providers=[SCHEDULER])).expect_result()


async def _another_tenant(peer: SchedulerPeer) -> None:
    (await peer.request("list").send(tenant_id=str(uuid4()))).expect_error(Code.DENIED)


async def _another_version(peer: SchedulerPeer) -> None:
    (await peer.request("list").send(version_id=str(uuid4()))).expect_error(Code.DENIED)


async def _unknown_install(peer: SchedulerPeer) -> None:
    (await peer.request("list").send(install_id=str(uuid4()))).expect_error(Code.NOT_FOUND)


def _token(name: str) -> Case[SchedulerPeer]:
    async def case(peer: SchedulerPeer) -> None:
        request = peer.request("list", encoding=JSON)
        [token] = [token for token in token_cases(request.token_request()) if token.name == name]
        answer = await request.send(token=token)
        if token.reason is None:
            answer.expect_result()
        else:
            answer.expect_error(Code.UNAUTHORIZED)
            without = TokenCase("no token", None)
            text = (await peer.request("list", encoding=JSON).send(token=without)).members["error"]
            public = answer.members["error"]
            expect(public == text, f"the reason is for the log, not for the caller: {public}")

    return case


def host_cases(peer: SchedulerPeer) -> dict[str, Case[SchedulerPeer]]:
    """Return the cases by name."""
    tokens = [
        token
        for token in token_cases(peer.request("list", encoding=JSON).token_request())
        if not token.timing
    ]
    return {
        "list in both encodings": _list,
        "an empty body is an empty map": _empty_body,
        "endpoints in their order": _endpoints,
        "a schedule that is not there": _get,
        "headers of a reply": _headers,
        "unknown members are ignored": _unknown_members,
        "field errors come together": _field_errors,
        "a schedule's life, and repeated requests": _life,
        "unknown content type": _content_type,
        "a content type in another spelling, and none": _content_type_spelling,
        "malformed bodies": _malformed_body,
        "a body that is too large": _large_body,
        "a passed deadline": _deadline_passed,
        "capability granted to the execution": _capability,
        "another tenant": _another_tenant,
        "another version": _another_version,
        "unknown install": _unknown_install,
        **{f"context: {token.name}": _token(token.name) for token in tokens},
    }

"""The rules of the service as vectors: what a test kit in another language must agree with.

A seed decides them, so that a sample can be had again.
"""

import json
import random
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import msgspec

from contracts.capabilities import KNOWN
from contracts.publish.typescript_extension import camel
from devstack.testing.scheduler import InMemoryScheduler
from runner_bridge.dev_runner.scheduling import MalformedPayload, parse_payload
from runner_bridge.dev_runner.scheduling import call as call_scheduler
from service.rules import zones
from service.rules.capabilities import effective
from service.rules.cron import InvalidCronError, parse
from service.rules.endpoints import read_manifest
from service.rules.limits import Limits, append_window, check_rate
from service.rules.offsets import EPOCH, MINUTE, offset_period_at
from service.rules.payload import check
from service.rules.slots import next_slots, slots_between

Vector = dict[str, Any]

_ENDPOINTS: list[Any] = [
    {"method": "post", "path": "api//run", "handler": "run"},
    {"method": "GET", "path": "/api/run", "handler": "read"},
    {"method": "GET", "path": "/api/only", "handler": "only"},
    {"method": "POST", "path": "/api/hidden", "handler": "hidden", "schedulable": False},
    {"method": "DELETE", "path": "/api/run", "handler": "drop"},
    {"method": "GET", "path": "/api/items/:id", "handler": "item"},
    {"method": "POST", "path": "/api/{id}", "handler": "item"},
    {"method": "POST", "path": " /api/spaced ", "handler": "spaced"},
    {"method": "GET", "path": "/api/only", "handler": "the last one wins"},
    {"method": "GET", "path": "/api/nothing", "handler": " "},
    {"method": "GE T", "path": "/api/x", "handler": "x"},
    {"method": "GET", "path": "/api/\u0000", "handler": "x"},
    "no entry",
]
_SELECTORS = [
    *(
        "/api/run",
        "POST /api/run",
        "get api/run",
        "post /api//run",
        "DELETE /api/run",
        " /api/run\t",
    ),
    *(
        "/api/only",
        "POST /api/only",
        "/api/hidden",
        "POST /api/hidden",
        "/api/items/:id",
        "/api/{id}",
    ),
    *(
        "/api/spaced",
        "/api/nothing",
        "",
        " ",
        "GET",
        "GET ",
        "api/run",
        "FOO api/run",
        "FOO /api/run",
    ),
    *("/api/\u0000", "/" + "x" * 256, "GET\u3000/api/only", "/api/RUN", "GET\u00a0\n/api/only"),
]
_CRONS = [
    *(
        "",
        "* * * * *",
        "@daily",
        "0 9 * * MON",
        "0 9 15 * 1",
        "0 0 31 2 *",
        "0 0 29 2 *",
        "*/7 * * * *",
    ),
    *(
        "58,0 0,23 * * *",
        "58,3 * * * *",
        "0-59/5 * * * *",
        "5/5 * * * *",
        "0 0 * * 7",
        "0 0 * * 0,7",
    ),
    *(
        "0 0 1,31 * *",
        "58 23 31 12 *",
        "0 0 * * 1-5",
        "0 0 31,1 1,12 *",
        "0\t9 *  * *",
        "\u20030 9 * * *",
    ),
    *(
        "0 9 * * *\u00a0",
        "0\u00a09 * * *",
        "00 09 * * *",
        "0 9 * * 5-7",
        "0 24 * * *",
        "60 0 * * *",
    ),
    *(
        "0 0 0 * *",
        "0 0 * 13 *",
        "0 5-3 * * *",
        "*/0 * * * *",
        "1- * * * *",
        "0 0 ** * *",
        "0,,5 0 * * *",
    ),
    *(
        "0 0 * * 8",
        "59-59 0 * * *",
        "*/100 * * * *",
        "0 */23 * * *",
        "0 0 */31 * *",
        "0 0 28,1 2,3 *",
    ),
    "0 " + "0," * 80 + "0 * * *",
]
_PAYLOADS = [
    *(
        '{"n":1}',
        "[]",
        "{}",
        "null",
        "5",
        '"text"',
        "true",
        "",
        "{",
        "[1,]",
        "NaN",
        "[NaN]",
        "[Infinity]",
    ),
    *("[1e400]", "[1.0,1,-0,-0.0,1e16,1.5e16,1e15,1e-4,1e-5,1e-6,5e-324,1.7976931348623157e308]"),
    *(
        "[123456789012345680.0,0.1,1e21,1e22,100.0,-2.5e-7,12345678.9]",
        "[01]",
        "[1.]",
        "[.5]",
        "[+1]",
    ),
    *("[9223372036854775807,-9223372036854775808,18446744073709551615]", "[18446744073709551616]"),
    *(
        "[-9223372036854775809]",
        '["\\u0000"]',
        '["\\ud800"]',
        '["\\ud83d\\ude00"]',
        '{"\\u0000":1}',
    ),
    *(
        '{"a":1,"a":2}',
        '{"10":1,"9":2,"b":{"2":1,"1":2}}',
        '["ü☃"]',
        '["\\t\\u0001\\/\\u007f"]',
        "\ufeff[]",
    ),
    *(
        " \t\r\n[ 1 , 2 ] ",
        "[1] x",
        "[" * 64 + "]" * 64,
        "[" * 65 + "]" * 65,
        '{"a":[{"b":[null]}]}',
    ),
]
_LARGE = '["' + "☃" * 90_000 + '"]'
"""Few enough characters, and more bytes than a request may have."""
_SIZES = [
    json.dumps(
        [sign * 2**bits - less for bits in range(64) for less in (0, 1) for sign in (1, -1)]
    ),
    json.dumps({"x" * length: [0] * length for length in (0, 15, 16, 31, 32, 255, 256, 70_000)}),
    json.dumps({str(number): 0.5 for number in range(20)}),
]


def rule_vectors(seed: int, count: int) -> dict[str, list[Vector]]:
    """Return vectors of every kind, about ``count`` of each that is drawn."""
    draw = random.Random(seed)
    return {
        "crons": [_cron(text) for text in [*_CRONS, *(_any_cron(draw) for _ in range(count))]],
        "slots": [_slots(draw) for _ in range(count)],
        "selectors": list(_selectors()),
        "payloads": [_payload(text, limit) for text in _PAYLOADS for limit in (100_000, 40)]
        + [_payload(text, 1_000_000) for text in _SIZES],
        "rates": [_rate(draw) for _ in range(count)],
        "capabilities": [_capabilities(draw) for _ in range(count // 4)],
        "scenarios": [_scenario(draw) for _ in range(count // 4)],
    }


def _cron(text: str) -> Vector:
    try:
        accepted = parse(text)
    except InvalidCronError as error:
        return {"cron": text, "error": str(error)}
    return {"cron": text, "error": None, "text": accepted.text, "times": list(accepted.times)}


def _any_cron(draw: random.Random) -> str:
    return " ".join(
        _any_field(draw, lowest, highest)
        for lowest, highest in ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
    )


def _any_field(draw: random.Random, lowest: int, highest: int) -> str:
    low, high = sorted(draw.choices(range(lowest, highest + 1), k=2))
    forms = ["*", "*", "*", str(low), f"{low},{high}", f"{low}-{high}", f"*/{high or 1}"]
    forms += [f"{low}/{high or 1}", f"{low}-{high}/{draw.randint(1, highest)}"]
    return draw.choice(forms)


def _fitting_cron(draw: random.Random) -> str:
    while True:
        text = _any_cron(draw)
        if _cron(text)["error"] is None:
            return text


def _slots(draw: random.Random) -> Vector:
    """Return the slots of a schedule around a clock change of its zone, or anywhere."""
    name = draw.choice(sorted(zones.names()))
    zone = zones.load(name)
    assert zone is not None
    cron = parse(draw.choice([_fitting_cron(draw), _night(draw)]))
    after = datetime(2020, 1, 1, tzinfo=UTC) + draw.randrange(20 * 365 * 1440) * MINUTE
    if draw.random() < 0.7:
        change = offset_period_at(zone, (after - EPOCH) // MINUTE).end
        after = EPOCH + (change - draw.randint(1, 3_000)) * MINUTE
    after += timedelta(seconds=draw.choice([0, 1, 30]))
    until = after + timedelta(days=draw.randint(1, 5), seconds=draw.choice([0, 30]))
    tick = timedelta(microseconds=1)
    return {
        "cron": cron.text,
        "timezone": name,
        "after": _milliseconds(after),
        "next": [_milliseconds(slot) for slot in next_slots(cron, zone, after, 3)],
        "until": _milliseconds(until),
        "between": [
            _milliseconds(slot) for slot in slots_between(cron, zone, after - tick, until - tick)
        ],
    }


def _night(draw: random.Random) -> str:
    minute, hour = (
        draw.choice(["0", "30", "10,40", "*/15"]),
        draw.choice(["0", "1", "2", "3", "1-4", "*", "*/2"]),
    )
    return f"{minute} {hour} * * *"


def _selectors() -> Iterator[Vector]:
    manifest = read_manifest(json.dumps(_ENDPOINTS))
    for text in _SELECTORS:
        for payload in (None, "{}"):
            scheduler = InMemoryScheduler(manifest, Limits(), lambda: EPOCH)
            result = _asked(scheduler, "create-schedule", [_create(text, payload=payload)])
            listed = _asked(scheduler, "list-schedules", [])["ok"]
            chosen = [f"{item['endpoint-method']} {item['endpoint-path']}" for item in listed]
            yield {
                "endpoints": _ENDPOINTS,
                "selector": text,
                "payload": payload is not None,
                "chosen": chosen[0] if result["success"] else None,
            }


def _payload(text: str, max_length: int) -> Vector:
    vector: Vector = {"text": text, "maxLength": max_length}
    try:
        value = parse_payload(text)
    except MalformedPayload:
        return vector | {"malformed": True}
    refusal = check(value, max_length=max_length)
    vector |= {"malformed": False, "error": refusal}
    if refusal is not None or value is None:
        return vector
    back = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    packed = len(msgspec.msgpack.encode(value))
    wire = msgspec.json.encode(value).decode()
    return vector | {"wire": wire, "back": back, "packed": packed}


def _rate(draw: random.Random) -> Vector:
    limit = draw.randint(1, 10)
    accepted = sorted(EPOCH + timedelta(milliseconds=draw.randrange(120_000)) for _ in range(limit))
    now = EPOCH + timedelta(milliseconds=draw.randrange(150_000))
    return {
        "accepted": [_milliseconds(at) for at in accepted],
        "now": _milliseconds(now),
        "limit": limit,
        "wait": check_rate(accepted, now, limit),
        "kept": [_milliseconds(at) for at in append_window(accepted, now, limit)],
    }


def _capabilities(draw: random.Random) -> Vector:
    names = [*sorted(KNOWN), " CAP:Storage.KV ", "cap:unknown", ""]
    granted, declared = (draw.sample(names, draw.randint(0, 4)) for _ in range(2))
    held = effective(json.dumps(granted), None, json.dumps(declared))
    return {"granted": granted, "declared": declared, "effective": sorted(held)}


def _scenario(draw: random.Random) -> Vector:
    """Return steps of an extension and what each answers; ``$n`` is the id of the nth created."""
    now = datetime(2026, 3, 28, draw.randrange(24), tzinfo=UTC)
    limits = Limits(max_schedules=draw.choice([2, 50]), changes_per_minute=draw.choice([3, 10]))
    scheduler = InMemoryScheduler(read_manifest(json.dumps(_ENDPOINTS)), limits, lambda: now)
    ids: list[str] = []
    steps = []
    start = now
    for _ in range(12):
        now += timedelta(milliseconds=draw.choice([0, 1, 999, 20_000, 60_000, 86_400_000]))
        function = draw.choice(
            ["create-schedule"] * 3 + ["update-schedule"] * 2 + ["delete-schedule"]
        )
        reference = draw.choice(["x", str(uuid4()).upper(), *(f"${n}" for n in range(len(ids)))])
        id_ = ids[int(reference[1:])] if reference.startswith("$") else reference
        given = _input(draw, whole=function == "create-schedule")
        arguments: list[Any] = [given] if function == "create-schedule" else [id_, given]
        result = _asked(scheduler, function, arguments[:1] if "delete" in function else arguments)
        if result.get("schedule-id"):
            ids.append(result["schedule-id"])
        # The record of a delete has no field errors.
        result |= {"schedule-id": None} | ({"field-errors": None} if "delete" in function else {})
        steps.append(
            {
                "now": _milliseconds(now),
                "function": camel(function),
                "id": None if function == "create-schedule" else reference,
                "input": None if "delete" in function else _spelled(given),
                "result": _spelled(result),
                "listed": [
                    _spelled({**schedule, "id": None})
                    for schedule in _asked(scheduler, "list-schedules", [])["ok"]
                ],
                "due": [
                    None if schedule.due_at is None else _milliseconds(schedule.due_at)
                    for schedule in scheduler.schedules.values()
                ],
            }
        )
    return {
        "start": _milliseconds(start),
        "endpoints": _ENDPOINTS,
        "limits": {
            "maxSchedules": limits.max_schedules,
            "changesPerMinute": limits.changes_per_minute,
        },
        "steps": steps,
    }


def _input(draw: random.Random, *, whole: bool) -> Vector:
    zone = draw.choice([None, None, " Europe/Berlin ", "US/Eastern", "europe/berlin", "", "x" * 65])
    name = draw.choice([None, "a", " a ", "b", "", "n" * 129, "\u0000", "ü" * 128])
    cron = draw.choice([*_CRONS[5:20], *(_fitting_cron(draw) for _ in range(10))])
    endpoint = draw.choice([*_SELECTORS[:6], *["/api/run"] * 10])
    return {
        "endpoint": endpoint if whole or draw.random() < 0.3 else None,
        "cron": cron if whole or draw.random() < 0.5 else None,
        "timezone": zone,
        "enabled": draw.choice([None, None, True, False]),
        "name": name,
        "payload": draw.choice([None, None, *_PAYLOADS[:13], _LARGE]),
    }


def _create(endpoint: str, payload: str | None) -> Vector:
    return {
        "endpoint": endpoint,
        "cron": "0 9 * * *",
        "timezone": None,
        "enabled": None,
        "name": None,
        "payload": payload,
    }


def _asked(scheduler: InMemoryScheduler, function: str, arguments: list[Any]) -> Any:
    """Call a function of the interface, which waits for nothing."""
    call = call_scheduler(scheduler, function, arguments)
    try:
        call.send(None)
    except StopIteration as end:
        return end.value
    raise RuntimeError(f"{function} waits for something")


def _spelled(record: Mapping[str, Any]) -> Vector:
    """Return a record of the interface as JavaScript has it: options that are none are absent."""
    known = {"next-run-at", "revision", "updated-at"}  # not in the interface
    return {
        camel(name): value
        for name, value in record.items()
        if value is not None and name not in known
    }


def _milliseconds(instant: datetime) -> int:
    return (instant - EPOCH) // timedelta(milliseconds=1)

"""Discovery replies fit the protocol to the letter: the command line hides those that do not."""

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest

from contracts.discovery import ResponderState, read_ping
from service.bus.micro import Identity, Statistics, info, own_ping, ping, stats, subjects
from service.messages import ServiceOperation

STARTED = datetime(2026, 3, 1, 12, 30, 15, 250000, tzinfo=UTC)
ENDPOINT_NAME = re.compile(r"[a-zA-Z0-9_-]+")
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


def identity(**changed: Any) -> Identity:
    given = {
        "name": "ext-scheduler",
        "id": "a1-B_2",
        "version": "0.1.0",
        "description": "Schedules",
        "started": STARTED,
        "metadata": {"host": "one"},
    }
    return Identity(**{**given, **changed})


def operation(name: str) -> ServiceOperation:
    return ServiceOperation(
        subject=f"ext.scheduler.{name}",
        op=name,
        audience="ext.scheduler",
        input_schema={"type": "object", "title": f"{name} input"},
        output_schema={"type": "object", "title": f"{name} output"},
    )


IDLE = {"running": "0", "waiting": "0", "concurrency": "0"}
OPERATIONS = [operation("list"), operation("create")]


def test_discovery_answers_for_all_services_for_the_name_and_for_the_instance() -> None:
    assert subjects(identity(), "STATS") == (
        "$SRV.STATS",
        "$SRV.STATS.ext-scheduler",
        "$SRV.STATS.ext-scheduler.a1-B_2",
    )
    assert own_ping(identity()) == "$SRV.PING.ext-scheduler.a1-B_2"


def test_ping_identifies_the_instance() -> None:
    assert json.loads(ping(identity())) == {
        "type": "io.nats.micro.v1.ping_response",
        "name": "ext-scheduler",
        "id": "a1-B_2",
        "version": "0.1.0",
        "metadata": {"host": "one", "database": "ok", **IDLE},
    }


def test_ping_tells_others_of_a_silent_database() -> None:
    reply = json.loads(ping(identity(), has_database=False))
    assert reply["metadata"] == {"host": "one", "database": "silent", **IDLE}


def test_ping_says_how_busy_the_instance_is() -> None:
    body = ping(identity(), running=3, waiting=12, concurrency=8)
    assert read_ping(body) == ResponderState(
        id="a1-B_2", version="0.1.0", has_database=True, running=3, waiting=12, concurrency=8
    )
    silent = read_ping(ping(identity(), has_database=False))
    assert silent is not None
    assert not silent.has_database
    older = read_ping(b'{"id": "r", "version": "0.0.9", "metadata": {"waiting": "many"}}')
    assert older is not None
    assert (older.has_database, older.waiting, older.concurrency) == (True, 0, 0)
    assert read_ping(b"no ping") is None


def test_info_lists_every_operation_with_its_queue_and_schemas() -> None:
    reply = json.loads(info(identity(), OPERATIONS, "ext-scheduler"))
    assert reply["type"] == "io.nats.micro.v1.info_response"
    assert reply["description"] == "Schedules"
    assert [endpoint["name"] for endpoint in reply["endpoints"]] == ["list", "create"]
    first = reply["endpoints"][0]
    assert first["subject"] == "ext.scheduler.list"
    assert first["queue_group"] == "ext-scheduler"
    assert ENDPOINT_NAME.fullmatch(first["name"])


def test_metadata_are_strings_and_schemas_are_json_in_them() -> None:
    reply = json.loads(info(identity(), OPERATIONS, "ext-scheduler"))
    metadata = reply["endpoints"][1]["metadata"]
    assert {type(value) for value in metadata.values()} == {str}
    assert json.loads(metadata["schema.request"]) == OPERATIONS[1].input_schema
    assert json.loads(metadata["schema.response"]) == OPERATIONS[1].output_schema


def test_statistics_before_the_first_request_are_complete_zeros() -> None:
    counted = {each.subject: Statistics() for each in OPERATIONS}
    reply = json.loads(stats(identity(), OPERATIONS, "ext-scheduler", counted))
    assert reply["type"] == "io.nats.micro.v1.stats_response"
    assert RFC_3339.fullmatch(reply["started"])
    assert reply["endpoints"][0] == {
        "name": "list",
        "subject": "ext.scheduler.list",
        "queue_group": "ext-scheduler",
        "num_requests": 0,
        "num_errors": 0,
        "last_error": "",
        "processing_time": 0,
        "average_processing_time": 0,
    }


def test_statistics_count_requests_errors_and_time_in_nanoseconds() -> None:
    counted = {each.subject: Statistics() for each in OPERATIONS}
    counted["ext.scheduler.create"].count(1_000_000, None)
    counted["ext.scheduler.create"].count(2_000_001, (401, "not you"))
    counted["ext.scheduler.create"].count(0, (503, "busy"))
    figures = json.loads(stats(identity(), OPERATIONS, "ext-scheduler", counted))["endpoints"][1]
    assert figures["num_requests"] == 3
    assert figures["num_errors"] == 2
    assert figures["last_error"] == "503:busy"
    assert figures["processing_time"] == 3_000_001
    assert figures["average_processing_time"] == 1_000_000


@pytest.mark.parametrize(
    "version", ["1.2.3", "0.1.0-rc.1+build.5", "10.20.30", "1.0.0-alpha-beta", "1.0.0+21AF26D3"]
)
def test_a_semantic_version_is_accepted(version: str) -> None:
    assert identity(version=version).version == version


@pytest.mark.parametrize(
    "version", ["1", "1.2", "01.2.3", "1.2.3-", "1.2.3-01", "v1.2.3", "1.2.3.4", "1.2.3 ", "٣.1.1"]
)
def test_any_other_version_is_refused(version: str) -> None:
    with pytest.raises(ValueError, match="semantic version"):
        identity(version=version)


@pytest.mark.parametrize("name", ["", "ext scheduler", "ext.scheduler", "ext*", "schédule"])
def test_a_name_or_id_that_is_no_single_token_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="name or id"):
        identity(name=name)
    with pytest.raises(ValueError, match="name or id"):
        identity(id=name)


def test_a_start_without_time_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="no zone"):
        identity(started=STARTED.replace(tzinfo=None))

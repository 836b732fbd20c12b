"""The published contract: complete, sound, what the wire carries, and what is committed."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from contracts.admin import ADMIN_OPS
from contracts.errors import NUMBERS
from contracts.events import EventType
from contracts.publish import wit, world
from contracts.publish.schemas import ADMIN_REFUSALS, HOST_REFUSALS, service_errors
from contracts.schedules import HOST_OPS
from contracts.subjects import admin_subject, host_subject
from runner_bridge.dev_runner.build import WIT
from runner_bridge.dev_runner.interface import OFFERED, SCHEDULER
from service.cli.asyncapi import ContractFormat, render
from service.messages import Reply
from tests.support.published import as_published
from tests.wire.golden_files import CURRENT, read

FOLDER = Path(__file__).parents[2] / "docs" / "api"
FILES = {
    ContractFormat.ASYNCAPI: "asyncapi.json",
    ContractFormat.TYPESCRIPT: "ext-scheduler.d.ts",
    ContractFormat.WIT: "scheduler.wit",
}
ANYTHING: list[Any] = [None, True, -1.5, "?", [None], {}]
KEYWORDS = {*Draft7Validator.VALIDATORS, "title", "description", "default", "examples"}
OPERATIONS = [("host", op) for op in HOST_OPS] + [("admin", op) for op in ADMIN_OPS]


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(render(ContractFormat.ASYNCAPI))
    return content


@pytest.mark.parametrize("form", list(ContractFormat))
def test_committed_documents_equal_the_generated_ones(form: ContractFormat) -> None:
    assert (FOLDER / FILES[form]).read_text() == render(form), "make api"


def test_the_document_has_every_operation_under_its_subject(document: dict[str, Any]) -> None:
    subjects = {f"host.{op}": host_subject(op) for op in HOST_OPS} | {
        f"admin.{op}": admin_subject(op) for op in ADMIN_OPS
    }
    for name, subject in subjects.items():
        operation = document["operations"][name]
        assert (operation["action"], operation["channel"]) == (
            "receive",
            {"$ref": f"#/channels/{name}"},
        )
        assert document["channels"][name]["address"] == subject
        assert operation["reply"]["channel"] == {"$ref": f"#/channels/{name}.reply"}
    assert set(document["operations"]) == {*subjects, "runner.execute", "events"}
    types = document["channels"]["events"]["parameters"]["type"]["enum"]
    assert types == [each.value for each in EventType]


def test_every_reference_resolves(document: dict[str, Any]) -> None:
    found = list(references(document))
    assert len(found) > 200
    for reference in found:
        place: Any = document
        for name in reference.removeprefix("#/").split("/"):
            place = place[name]


def test_every_schema_is_valid_and_refuses_something(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    assert len(schemas) > 50
    for name, schema in schemas.items():
        Draft7Validator.check_schema(schema)
        validator = Draft7Validator({**schema, "components": {"schemas": schemas}})
        accepted = [validator.is_valid(value) for value in ANYTHING]
        assert not all(accepted), f"{name} accepts everything"
        unknown = set(keywords(schema)) - KEYWORDS
        assert unknown == set(), f"{name}: no validator acts on {unknown}"


def keywords(schema: Any) -> Iterator[str]:
    """Yield every keyword that a schema uses, those of its parts included."""
    if not isinstance(schema, dict):
        return
    for keyword, value in schema.items():
        yield keyword
        if keyword in {"properties", "patternProperties", "definitions"}:
            for part in value.values():
                yield from keywords(part)
        elif keyword in {"allOf", "anyOf", "oneOf"}:
            for part in value:
                yield from keywords(part)
        elif keyword in {"items", "additionalProperties", "not"}:
            yield from keywords(value)


@pytest.mark.parametrize(("realm", "op"), OPERATIONS)
def test_the_golden_messages_fit_the_document(
    document: dict[str, Any], realm: str, op: str
) -> None:
    entries = read(CURRENT, f"{realm}.json")[op]
    replies = document["channels"][f"{realm}.{op}.reply"]["messages"]
    fits(document, document["channels"][f"{realm}.{op}"]["messages"]["request"], entries["input"])
    output = json.loads(entries["output"]["json"])
    negative = output.get("success") is False
    fits(document, replies["refusal" if negative else "result"], entries["output"])
    for name, codes in reply_codes(realm, op).items():
        for code in codes:
            error = read(CURRENT, "errors.json")[code]
            fits(document, replies[name], error)


def test_a_message_that_does_not_fit_is_refused(document: dict[str, Any]) -> None:
    replies = document["channels"]["host.create.reply"]["messages"]
    error = read(CURRENT, "errors.json")["INSTALL_DISABLED"]
    with pytest.raises(AssertionError):
        fits(document, replies["serviceError"], error)


def test_events_and_executions_fit_the_document(document: dict[str, Any]) -> None:
    for text in read(CURRENT, "events.json").values():
        fits(document, document["channels"]["events"]["messages"]["event"], {"json": text})
    for name, text in read(CURRENT, "execution.json").items():
        asked = name.startswith("request")
        channel = "runner.execute" if asked else "runner.execute.reply"
        message = document["channels"][channel]["messages"]["request" if asked else "response"]
        fits(document, message, {"json": text})


def test_every_code_is_documented_by_an_operation() -> None:
    documented = {
        code
        for realm, op in OPERATIONS
        for codes in reply_codes(realm, op).values()
        for code in codes
    }
    assert documented == {code.value for code in NUMBERS}
    assert set(HOST_REFUSALS) == set(HOST_OPS)
    assert set(ADMIN_REFUSALS) == set(ADMIN_OPS)


def test_the_interface_of_the_runner_has_every_generated_part() -> None:
    committed = plain((WIT / "extension.wit").read_text())
    assert plain(wit.error_enum()) in committed
    for name, fields in wit.records().items():
        assert plain(wit.record(name, fields)) in committed
    interface = committed.partition("interface scheduler {")[2].partition("}; ")[2]
    signatures = [plain(wit.signature(function)) for function in wit.functions()]
    assert interface.partition("}")[0].strip() == " ".join(signatures)
    assert OFFERED[SCHEDULER] == {function.name for function in wit.functions()}


def test_the_interface_of_the_runner_is_the_published_world() -> None:
    committed = plain((WIT / "extension.wit").read_text())
    for name, fields in world.RECORDS.items():
        assert plain(wit.record(name, fields)) in committed
    for name, cases in world.ENUMS.items():
        assert f"enum {name} {{ {' '.join(f'{case},' for case in cases)} }}" in committed
    for name, functions in world.INTERFACES.items():
        interface = committed.partition(f"interface {name} {{")[2].partition(" }")[0]
        signatures = [plain(world.signature(function)) for function in functions]
        assert (
            re.sub(r"use types\.\{[^}]*\};", "", interface).split() == " ".join(signatures).split()
        ), name
        assert OFFERED[f"{wit.PACKAGE}/{name}"] == {function.name for function in functions}
    assert committed.count("interface ") == len(world.INTERFACES) + 2
    assert committed.count(" record ") == len(world.RECORDS) + len(wit.records())
    assert f"export {plain(world.signature(world.HANDLER))}" in committed


def test_both_worlds_have_the_same_interface_for_extensions(tmp_path: Path) -> None:
    published = bindings(FOLDER / FILES[ContractFormat.WIT], "scheduled", tmp_path / "published")
    offered = bindings(WIT, "runner", tmp_path / "offered")
    assert published == offered
    assert "def update_schedule(schedule_id: str, input: types.UpdateScheduleInput)" in published


def bindings(source: Path, world: str, target: Path) -> str:
    """Return what the compiler for Python makes of the interface."""
    code = "import sys, componentize_py; sys.exit(componentize_py.script())"
    places = ["-d", str(source), "-w", world]
    done = subprocess.run(
        [sys.executable, "-c", code, "-q", *places, "bindings", str(target)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return (target / "wit_world" / "imports" / "scheduler.py").read_text()


def reply_codes(realm: str, op: str) -> dict[str, list[str]]:
    """Message of the reply channel → the codes it may carry."""
    operation = HOST_OPS[op] if realm == "host" else ADMIN_OPS[op]
    refusals = (HOST_REFUSALS if realm == "host" else ADMIN_REFUSALS)[op]
    return {
        "refusal": [code.value for code in refusals],
        "serviceError": [code.value for code in service_errors(op, operation)],
    }


def fits(document: Mapping[str, Any], message: Mapping[str, Any], entry: Mapping[str, str]) -> None:
    schema = {**message["payload"], "components": document["components"]}
    if "$ref" in schema:  # beside a reference nothing else counts
        schema = {"allOf": [message["payload"]], "components": document["components"]}
    faults = list(Draft7Validator(schema).iter_errors(json.loads(entry["json"])))
    assert faults == []


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        part = list(part.values())
    if isinstance(part, list):
        for each in part:
            yield from references(each)


def plain(text: str) -> str:
    """Return the WIT without comments, on one line."""
    return " ".join(re.sub(r"//.*", "", text).split())


@pytest.mark.parametrize(
    ("op", "body", "error"),
    [
        ("list", b'{"success":false,"code":"QUOTA_EXCEEDED","error":"x"}', None),
        ("list", b'{"success":false,"code":"NOT_FOUND","error":"x"}', None),
        ("list", b'{"schedules":[{"id":"1"}]}', None),
        ("create", b'{"success":false,"code":"QUOTA_EXCEEDED","error":"x"}', (429, "x")),
    ],
)
def test_an_unpublished_reply_is_reported(
    op: str, body: bytes, error: tuple[int, str] | None
) -> None:
    reply = Reply({"Content-Type": "application/json"}, body, error)
    with pytest.raises(AssertionError, match="not published"):
        as_published("host", op, reply)


def test_the_python_of_the_extension_guide_fits_the_interface(tmp_path: Path) -> None:
    bindings(WIT, "runner", tmp_path)
    guide = (FOLDER.parent / "extension-guide.md").read_text()
    [example] = re.findall(r"^```python\n(.*?)^```$", guide, re.DOTALL | re.MULTILINE)
    trial = """
asked = []
scheduler.list_schedules = lambda: []
scheduler.create_schedule = lambda given: asked.append(given) or types.CreateScheduleResult(
    success=False, schedule_id=None, error="e", field_errors=None)
print(ensure("nightly", "0 3 * * *"), asked[0].name, asked[0].payload)
"""
    done = subprocess.run(
        [sys.executable, "-c", example + trial],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == 'e nightly {"schedule": "nightly"}\n', done.stderr

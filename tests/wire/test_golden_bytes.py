"""What was sent once still decodes; what is sent today is what the golden files hold."""

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from contracts.admin import ADMIN_OPS
from contracts.context import parse_key_set, verify
from contracts.encoding import Encoding, decode
from contracts.errors import NUMBERS, ErrorBody, Outcome
from contracts.events import Event, EventType
from contracts.execution import ExecuteRequest, ExecuteResponse
from contracts.schedules import HOST_OPS
from tests.wire.golden_files import (
    CURRENT,
    FOLDER,
    KEYS_FILE,
    TOKEN_BODY,
    TOKEN_CLAIMS,
    TOKEN_IAT,
    golden,
    read,
)
from tests.wire.samples_admin import ADMIN_SAMPLES
from tests.wire.samples_host import (
    EXECUTE_SAMPLES,
    HOST_SAMPLES,
)

RELEASES = sorted(folder.name for folder in FOLDER.iterdir() if folder.is_dir())
TABLES: dict[str, Mapping[str, Any]] = {"host.json": HOST_OPS, "admin.json": ADMIN_OPS}
SAMPLES = {"host.json": HOST_SAMPLES, "admin.json": ADMIN_SAMPLES}


def in_both(entry: dict[str, str], shape: type[msgspec.Struct]) -> msgspec.Struct:
    """Decode both encodings, which must say the same."""
    from_json = decode(entry["json"].encode(), shape, Encoding.JSON)
    from_msgpack = decode(bytes.fromhex(entry["msgpack"]), shape, Encoding.MSGPACK)
    assert from_json == from_msgpack
    return from_json


@pytest.mark.parametrize("name", sorted(golden()))
def test_todays_bytes_are_the_golden_ones(name: str) -> None:
    assert golden()[name] == read(CURRENT, name), "python -m tests.wire.golden_files"


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("name", sorted(TABLES))
def test_every_message_of_an_older_release_still_decodes(release: str, name: str) -> None:
    for op, entries in read(release, name).items():
        operation = TABLES[name][op]
        in_both(entries["input"], operation.input)
        in_both(entries["output"], operation.output)
        in_both(entries["error"], ErrorBody)
        if issubclass(operation.output, Outcome):
            negative = in_both(entries["error"], operation.output)
            assert isinstance(negative, Outcome)
            assert not negative.success


@pytest.mark.parametrize("name", sorted(TABLES))
def test_decoding_gives_back_the_sample(name: str) -> None:
    for op, (given, output) in SAMPLES[name].items():
        entries = read(CURRENT, name)[op]
        assert in_both(entries["input"], type(given)) == given
        assert in_both(entries["output"], type(output)) == output


@pytest.mark.parametrize("name", sorted(TABLES))
def test_tables_samples_and_golden_files_name_the_same_operations(name: str) -> None:
    assert set(TABLES[name]) == set(SAMPLES[name]) == set(read(CURRENT, name))
    for op, operation in TABLES[name].items():
        given, output = SAMPLES[name][op]
        assert (operation.input, operation.output) == (type(given), type(output))


@pytest.mark.parametrize("release", RELEASES)
def test_every_error_code_still_decodes(release: str) -> None:
    for code, entry in read(release, "errors.json").items():
        body = in_both(entry, ErrorBody)
        assert isinstance(body, ErrorBody)
        assert body.code == code
    assert set(read(CURRENT, "errors.json")) == set(NUMBERS)


@pytest.mark.parametrize("release", RELEASES)
def test_every_event_still_decodes(release: str) -> None:
    for kind, document in read(release, "events.json").items():
        assert decode(document.encode(), Event, Encoding.JSON).type == kind
    assert set(read(CURRENT, "events.json")) == set(EventType)


@pytest.mark.parametrize("release", RELEASES)
def test_every_execution_still_decodes(release: str) -> None:
    for name, document in read(release, "execution.json").items():
        shape = ExecuteRequest if name.startswith("request") else ExecuteResponse
        decoded: object = decode(document.encode(), shape, Encoding.JSON)
        assert release != CURRENT or decoded == EXECUTE_SAMPLES[name]


@pytest.mark.parametrize("release", RELEASES)
def test_every_token_still_verifies(release: str) -> None:
    keys = parse_key_set((FOLDER / KEYS_FILE).read_bytes())
    for kid, token in read(release, "tokens.json").items():
        meant = TOKEN_CLAIMS[kid]
        claims = verify(
            token, keys, audience=meant.aud, op=meant.op, body=TOKEN_BODY, now=TOKEN_IAT + 1
        )
        assert claims == meant


def test_empty_members_are_omitted_except_in_schedule_info() -> None:
    create = read(CURRENT, "host.json")["create"]["output"]["json"]
    assert create.startswith('{"success":true,"scheduleId":')
    assert create.count(":") == 2
    listed = read(CURRENT, "host.json")["list"]["output"]["json"]
    assert '"nextRunAt":null' in listed
    assert '"payload":null' in listed


def test_a_negative_result_and_a_service_error_have_one_body() -> None:
    update = read(CURRENT, "host.json")["update"]["output"]["json"]
    error = decode(update.encode(), ErrorBody, Encoding.JSON)
    assert msgspec.json.decode(msgspec.json.encode(error)) == msgspec.json.decode(update)

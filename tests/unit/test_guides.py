"""What the guides state is what the code does."""

import ast
import hashlib
import hmac
import json
import re
import shlex
import time
from pathlib import Path
from urllib.parse import unquote

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typer.testing import CliRunner

from contracts import base64url
from contracts.admin_installs import Manifest
from contracts.context import (
    LEEWAY_S,
    MAX_LIFETIME_S,
    MAX_TOKEN_BYTES,
    Claims,
    parse_key_set,
    verify,
)
from contracts.encoding import MAX_BODY_BYTES
from contracts.errors import NUMBERS, Code
from contracts.execution import ExecuteRequest, ExecuteResponse
from contracts.keys import MIN_SECRET_BYTES
from contracts.publish.schemas import HOST_REFUSALS, service_errors
from contracts.schedules import HOST_OPS, EndpointInfo, ScheduleInfo
from runner_bridge.executor import ExecutorSettings
from runner_bridge.requests import RequestSettings
from service.cli.main import program
from service.rules import cron, endpoints, fields, payload
from service.rules.limits import Limits, too_many_schedules
from service.rules.outcomes import RETRIED_4XX
from service.runtime.settings import PREFIX, Settings
from service.worker.firing.settings import FiringSettings

DOCS = Path(__file__).parents[2] / "docs"
RUNNER = (DOCS / "runner-integration.md").read_text()
EXTENSION = (DOCS / "extension-guide.md").read_text()
GUIDES = {"runner-integration.md": RUNNER, "extension-guide.md": EXTENSION}


def blocks(guide: str, label: str) -> list[str]:
    """Contents of the fenced blocks with this label, without the last line break."""
    return re.findall(rf"^```{label}\n(.*?)\n```$", guide, re.DOTALL | re.MULTILINE)


def block(label: str) -> str:
    [content] = blocks(RUNNER, f"text {label}")
    return content


def cells(guide: str, first: str) -> list[str]:
    """The table row whose first cell is this."""
    [row] = [line for line in guide.splitlines() if line.startswith(f"| {first} |")]
    return [cell.strip() for cell in row.strip("|").split("|")]


KEYS = [json.loads(text) for text in blocks(RUNNER, "json key")]
BODY = block("body").encode()
CLAIMS = block("claims")
SEGMENT = block("claims-segment")
HEADERS, HEADER_SEGMENTS, SIGNATURES, SIGNATURE_SEGMENTS = (
    [cell.strip("`") for cell in row.strip("|").replace(" ", "").split("|")[1:]]
    for row in RUNNER.partition("| | HS256 | Ed25519 |\n")[2].splitlines()[1:5]
)
TOKENS = [
    f"{header}.{SEGMENT}.{signature}"
    for header, signature in zip(HEADER_SEGMENTS, SIGNATURE_SEGMENTS, strict=True)
]


def segment(data: bytes) -> str:
    return base64url.encode(data).decode()


def test_the_example_hashes_its_body() -> None:
    claims = json.loads(CLAIMS)
    digest = hashlib.sha256(BODY)
    assert f"`{digest.hexdigest()}`" in RUNNER
    assert claims["body_sha256"] == segment(digest.digest())
    assert f"The body, {len(BODY)} bytes" in " ".join(RUNNER.split())
    assert f"The claims, {len(CLAIMS)} bytes" in " ".join(RUNNER.split())
    assert f"`{segment(hashlib.sha256().digest())}`" in RUNNER
    packed = msgspec.msgpack.encode(json.loads(BODY))
    assert f"is {len(packed)} bytes, `{packed.hex()}`" in RUNNER
    assert f"`{segment(hashlib.sha256(packed).digest())}`" in RUNNER


def test_the_example_signs_these_bytes() -> None:
    assert segment(CLAIMS.encode()) == SEGMENT
    assert [segment(header.encode()) for header in HEADERS] == HEADER_SEGMENTS
    by_alg = {key["alg"]: key for key in KEYS}
    message = f"{HEADER_SEGMENTS[0]}.{SEGMENT}".encode()
    secret = base64url.decode(by_alg["HS256"]["k"].encode())
    assert hmac.digest(secret, message, "sha256").hex() == SIGNATURES[0]
    private = base64url.decode(by_alg["EdDSA"]["d"].encode())
    message = f"{HEADER_SEGMENTS[1]}.{SEGMENT}".encode()
    signature = Ed25519PrivateKey.from_private_bytes(private).sign(message)
    assert signature.hex() == SIGNATURES[1]
    assert [segment(bytes.fromhex(text)) for text in SIGNATURES] == SIGNATURE_SEGMENTS


@pytest.mark.parametrize("token", TOKENS)
def test_the_service_accepts_the_example(token: str) -> None:
    keys = parse_key_set(json.dumps({"keys": KEYS}).encode())
    now = json.loads(CLAIMS)["iat"]
    claims = verify(token, keys, audience="ext.scheduler", op="create", body=BODY, now=now)
    assert claims == msgspec.json.decode(CLAIMS, type=Claims)


def test_the_frame_counts_its_bytes() -> None:
    first, *lines = block("frame").split("\n")
    head = "\r\n".join(lines[:-1]) + "\r\n"
    assert lines[-1].encode() == BODY
    assert f"Ext-Context: {TOKENS[0]}" in lines
    total = len(head) + len(BODY)
    assert first.split()[-2:] == [str(len(head)), str(total)]
    assert f"the headers are {len(head)} bytes, the whole {total}" in RUNNER


def test_numbers_of_the_runner_guide_are_those_of_the_code() -> None:
    requests, firing = RequestSettings(), FiringSettings()
    executor = ExecutorSettings(runner_url="")
    for stated in (
        f"at most {MAX_BODY_BYTES} bytes",
        f"At most {MAX_TOKEN_BYTES} characters",
        f"by at most {MAX_LIFETIME_S};",
        f"Clocks may differ by {LEEWAY_S} s",
        f"at least {MIN_SECRET_BYTES} bytes",
        f"| request timeout | {requests.attempt_timeout_s:g} s |",
        f"waits {requests.first_delay_s:g} s before the second attempt",
        f"up to {requests.max_delay_s:g} s, the upper half of it random",
        f"random, for {requests.total_timeout_s:g} s in all",
        f"{firing.runner_timeout_s:g} s for the Runner",
        f"{executor.margin_s:g} s more for the bridge's HTTP call",
        f"{firing.call_timeout_s:g} s for the worker's request",
        f"{firing.lease.total_seconds():g} s for its lease",
    ):
        assert stated in " ".join(RUNNER.split())
    for prefix in Settings().reply_prefixes:
        assert f"`{prefix}`" in RUNNER


def test_settings_in_the_guides_exist_with_these_defaults() -> None:
    known = {f"{PREFIX}{name.upper()}" for name in Settings.__struct_fields__}
    named = {name for guide in GUIDES.values() for name in re.findall(rf"{PREFIX}\w+", guide)}
    assert named
    assert named <= known
    defaults = Settings()
    assert f"{defaults.callback_host} and {defaults.callback_port}" in RUNNER
    assert f"`/metrics`; {defaults.http_port} |" in RUNNER


def test_the_table_of_codes_is_that_of_the_contract() -> None:
    told_as_error = {code for op, row in HOST_OPS.items() for code in service_errors(op, row)}
    told_as_result = {code for codes in HOST_REFUSALS.values() for code in codes}
    for code, number in NUMBERS.items():
        _, stated, error, result, _ = cells(RUNNER, f"`{code}`")
        assert stated == str(number)
        assert bool(error) == (code in told_as_error)
        if code not in {Code.SCHEDULE_REMAP_FAILED, Code.INSTALL_DISABLED}:
            assert bool(result) == (code in told_as_result)


def test_operations_and_their_members_are_those_of_the_contract() -> None:
    for op, row in HOST_OPS.items():
        _, given, result = cells(RUNNER, f"`{op}`")
        assert re.findall(r"\w+", given) == list(row.input.__struct_encode_fields__)
        assert set(re.findall(r"\w+", result)) & set(row.output.__struct_encode_fields__)
    for shape in (ScheduleInfo, EndpointInfo):
        [listed] = re.findall(rf"`{shape.__name__}`: `([^`]*)`", RUNNER)
        assert re.findall(r"\w+", listed) == list(shape.__struct_encode_fields__)
    claims = {
        name
        for row in re.findall(r"^\| (`\w+`.*?) \|", RUNNER, re.MULTILINE)
        for name in words(row)
    }
    host_claims = set(Claims.__struct_fields__) - {"sub", "permissions", "nbf"}
    assert host_claims <= claims


def words(cell: str) -> list[str]:
    return re.findall(r"`(\w+)`", cell)


def test_the_examples_of_an_execution_are_such() -> None:
    [request] = blocks(RUNNER, "json execute")
    decoded = msgspec.json.decode(request, type=ExecuteRequest)
    assert msgspec.to_builtins(decoded) == json.loads(request)
    assert decoded.limits.timeout_ms == FiringSettings().runner_timeout_s * 1000
    [response] = blocks(RUNNER, "json response")
    assert msgspec.json.decode(response, type=ExecuteResponse).status == 200
    [manifest] = blocks(EXTENSION, "json manifest")
    assert msgspec.json.decode(manifest, type=Manifest).api.endpoints[2].schedulable is False


def test_every_message_that_authors_match_on_is_in_their_guide() -> None:
    limits = Limits()
    messages = (
        cron.TOO_LONG,
        cron.FIVE_FIELDS,
        cron.UNSUPPORTED,
        cron.BOTH_DAYS,
        cron.NEVER_FIRES,
        cron.too_frequent(limits.min_interval_minutes),
        endpoints.NOT_SCHEDULABLE,
        fields.REQUIRED,
        fields.TIMEZONE_TOO_LONG,
        fields.INVALID_TIMEZONE,
        fields.NAME_TOO_LONG,
        fields.INVALID_NAME,
        fields.INVALID_ID,
        fields.NAME_TAKEN,
        fields.NOT_FOUND,
        payload.NOT_A_CONTAINER,
        payload.TOO_LARGE,
        payload.NOT_SERIALIZABLE,
        too_many_schedules(limits.max_schedules),
    )
    for message in messages:
        assert f"`{message}`" in EXTENSION
    with pytest.raises(cron.InvalidCronError) as refused:
        cron.parse("0 24 * * *")
    assert f"`{refused.value}`" in EXTENSION


def test_numbers_of_the_extension_guide_are_those_of_the_code() -> None:
    limits, settings = Limits(), Settings()
    for stated in (
        f"1 to {limits.max_endpoint_length} characters",
        f"| `cron` | at most {limits.max_cron_length} characters |",
        f"| | at most {limits.max_timezone_length} characters |",
        f"| `name` | at most {limits.max_name_length} characters;",
        f"| | at most {limits.max_payload_length} characters as compact JSON |",
        f"nesting at most {limits.max_payload_depth}",
        f"closer than {limits.min_interval_minutes} minutes",
        f"disabled ones included | {limits.max_schedules} |",
        f"| {limits.changes_per_minute} a minute per install |",
        f"within {settings.runner_timeout_s} seconds",
        "about {}, {} and {} seconds".format(*settings.retry_delays_s),
    ):
        assert stated in " ".join(EXTENSION.split())
    assert {408, 425, 429} == RETRIED_4XX
    assert settings.catchup_window_s == 3600


def test_the_examples_of_cron_are_right() -> None:
    for accepted in ("0 0 29 2 *", "30 2 * * *", "*/15 * * * *", "0 * * * *"):
        assert f"`{accepted}`" in EXTENSION
        cron.parse(accepted)
    with pytest.raises(cron.InvalidCronError, match="never fires"):
        cron.parse("0 0 31 2 *")
    with pytest.raises(cron.InvalidCronError, match="too frequent"):
        cron.parse("*/7 * * * *")


def test_the_python_of_the_extension_guide_is_python() -> None:
    [example] = blocks(EXTENSION, "python")
    assert [type(node).__name__ for node in ast.parse(example).body][-1] == "FunctionDef"


@pytest.mark.parametrize("name", sorted(GUIDES))
def test_links_lead_somewhere(name: str) -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", GUIDES[name]) if "://" not in link]
    assert links
    assert [link for link in links if not (DOCS / unquote(link)).exists()] == []


def test_the_commands_of_the_runner_guide_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    commands = [
        line.strip()
        for text in re.findall(r"```sh\n(.*?)```", RUNNER, re.DOTALL)
        for line in text.strip().splitlines()
    ]
    assert len(commands) == 3
    for command in commands:
        named, *arguments = shlex.split(command)
        assert named == "ext-scheduler"
        ended = CliRunner().invoke(program, arguments)
        assert ended.exit_code == 0, ended.output
    keys = parse_key_set((tmp_path / "keys.json").read_bytes())
    token, install = ended.output.strip(), json.loads(CLAIMS)["install_id"]
    claims = verify(token, keys, audience="ext.scheduler", op="list", body=b"{}", now=time.time())
    assert str(claims.install_id) == install
    shown = CliRunner().invoke(program, ["token", "inspect", token])
    assert install in shown.output


@pytest.mark.parametrize("form", ["asyncapi", "typescript", "wit"])
def test_the_contract_is_printed_on_request(form: str) -> None:
    ended = CliRunner().invoke(program, ["asyncapi", "--as", form])
    assert ended.exit_code == 0
    assert "update-schedule" in ended.output or "UpdateInput" in ended.output
    assert CliRunner().invoke(program, ["asyncapi", "--as", "else"]).exit_code == 2

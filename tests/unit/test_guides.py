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
    Claims,
    parse_key_set,
    verify,
)
from contracts.execution import ExecuteRequest, ExecuteResponse
from contracts.schedules import HOST_OPS, EndpointInfo, ScheduleInfo
from service.cli.main import program
from service.rules import cron, endpoints, fields, payload
from service.rules.limits import Limits, too_many_schedules
from service.runtime.settings import FILE_VARIABLE, PREFIX, SECRET_SETTINGS, Settings
from service.worker.firing.settings import FiringSettings
from tests.support import guide_tables

DOCS = Path(__file__).parents[2] / "docs"
RUNNER = (DOCS / "runner-integration.md").read_text()
EXTENSION = (DOCS / "extension-guide.md").read_text()
PAGES = {page.name: page.read_text() for page in sorted(DOCS.glob("*.md"))}
REGIONS = {
    name: found
    for name, text in PAGES.items()
    if (found := re.findall(r"<!-- generated: ([\w-]+) -->", text))
}
LINK = re.compile(r"\]\(([^)]+)\)")


def blocks(guide: str, label: str) -> list[str]:
    """Return the contents of the fenced blocks with this label, without the last line break."""
    return re.findall(rf"^```{label}\n(.*?)\n```$", guide, re.DOTALL | re.MULTILINE)


def block(label: str) -> str:
    [content] = blocks(RUNNER, f"text {label}")
    return content


def cells(guide: str, first: str) -> list[str]:
    """Return the table row whose first cell is this."""
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


def test_the_token_of_the_guide_hashes_its_body() -> None:
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


def test_the_token_of_the_guide_signs_the_shown_bytes() -> None:
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
def test_the_service_accepts_the_token_of_the_guide(token: str) -> None:
    keys = parse_key_set(json.dumps({"keys": KEYS}).encode())
    now = json.loads(CLAIMS)["iat"]
    claims = verify(token, keys, audience="ext.scheduler", op="create", body=BODY, now=now)
    assert claims == msgspec.json.decode(CLAIMS, type=Claims)


def test_the_frame_of_the_guide_has_the_stated_lengths() -> None:
    first, *lines = block("frame").split("\n")
    head = "\r\n".join(lines[:-1]) + "\r\n"
    assert lines[-1].encode() == BODY
    assert f"Ext-Context: {TOKENS[0]}" in lines
    total = len(head) + len(BODY)
    assert first.split()[-2:] == [str(len(head)), str(total)]
    assert f"the headers are {len(head)} bytes, the whole {total}" in RUNNER


def test_settings_named_in_the_guides_exist() -> None:
    files = [f"{name}_file" for name in SECRET_SETTINGS]
    known = {f"{PREFIX}{name.upper()}" for name in (*Settings.__struct_fields__, *files)}
    named = {name for page in PAGES.values() for name in re.findall(rf"{PREFIX}[A-Z_]+\b", page)}
    assert named
    assert named - {FILE_VARIABLE} <= known


@pytest.mark.parametrize("page", sorted(REGIONS))
def test_generated_tables_are_current(page: str) -> None:
    assert guide_tables.renewed(PAGES[page]) == PAGES[page], "run make docs"


def test_every_generated_table_is_in_a_page() -> None:
    assert {name for names in REGIONS.values() for name in names} == set(guide_tables.TABLES)


def test_a_stale_table_is_reported() -> None:
    stale = PAGES["reference.md"].replace("| `create` |", "| `make` |", 1)
    assert stale != PAGES["reference.md"]
    assert guide_tables.renewed(stale) == PAGES["reference.md"]


def test_a_member_without_a_docstring_is_refused() -> None:
    source = 'class Planted:\n    first: int = 1\n    """Known."""\n    second: int = 2\n'
    with pytest.raises(LookupError, match=r"Planted\.second"):
        guide_tables.described(source, "Planted")


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


def test_examples_of_an_execution_decode_as_executions() -> None:
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


@pytest.mark.parametrize("name", sorted(PAGES))
def test_links_lead_to_files_and_headings_that_exist(name: str) -> None:
    links = [link for link in LINK.findall(PAGES[name]) if "://" not in link]
    assert [link for link in links if not leads_somewhere(name, link)] == []


def leads_somewhere(page: str, link: str) -> bool:
    path, _, anchor = link.partition("#")
    file = DOCS / unquote(path) if path else DOCS / page
    if not file.exists() or not anchor:
        return file.exists()
    headings = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
    return anchor in {re.sub(r"[^\w -]", "", text).lower().replace(" ", "-") for text in headings}


def test_the_index_names_every_page() -> None:
    linked = {link.partition("#")[0] for link in LINK.findall(PAGES["README.md"])}
    assert set(PAGES) - {"README.md"} <= linked


def test_the_tutorial_serves_the_endpoints_that_it_declares() -> None:
    [manifest] = blocks(PAGES["tutorial.md"], "json tick-manifest")
    declared = msgspec.json.decode(manifest, type=Manifest)
    [source] = blocks(PAGES["tutorial.md"], "python tick-extension")
    functions = {n.name for n in ast.parse(source).body if isinstance(n, ast.FunctionDef)}
    assert {endpoint.handler for endpoint in declared.api.endpoints} == functions


def test_commands_of_the_runner_guide_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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

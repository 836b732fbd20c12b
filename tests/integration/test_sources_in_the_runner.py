"""Python extensions that run from their sources in the development Runner, uncompiled."""

import base64
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from devstack.new import write_extension
from runner_bridge.dev_runner.build import BuildFailed
from runner_bridge.dev_runner.components import sources_file
from runner_bridge.dev_runner.sources import (
    LOAD_METHOD,
    STANDARD,
    interpreter,
    runs_from_sources,
    standard_imports,
)
from tests.support.running_extensions import (
    Runner,
    development_runner,
    document,
    installed_sources,
    json_of,
)
from tests.support.scheduling import MemoryScheduler

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
async def runner(tmp_path: Path) -> AsyncIterator[Runner]:
    async with development_runner(tmp_path, MemoryScheduler()) as running:
        yield running


@pytest.fixture
def hello(tmp_path: Path) -> Path:
    write_extension(tmp_path / "hello")
    return tmp_path / "hello"


def components(runner: Runner) -> set[str]:
    return {path.name for path in runner.components.glob("*.wasm")}


async def test_a_change_needs_no_compiling(hello: Path, runner: Runner) -> None:
    first = installed_sources(hello, runner)
    compiled = components(runner)
    assert json_of(await runner.execute(first, "/api/setup", method="POST")) == {"created": True}
    source = hello / "extension.py"
    source.write_text(source.read_text().replace('{"report": wanted', '{"edited": helper.YES'))
    (hello / "helper.py").write_text("YES = 1\n")
    source.write_text(source.read_text().replace("import json\n", "import json\n\nimport helper\n"))
    second = installed_sources(hello, runner)
    assert second != first
    assert components(runner) == compiled
    assert (await runner.execute(second, method=LOAD_METHOD)).status == 204
    body = b'{"a": 1}'
    changed = json_of(await runner.execute(second, "/api/report", method="POST", body=body))
    assert changed == {"edited": 1, "for": "now"}
    # The earlier version is still what it was.
    earlier = json_of(await runner.execute(first, "/api/report", method="POST", body=body))
    assert earlier == {"report": {"a": 1}, "for": "now"}


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (
            "CRON =",
            "X = unknown\nCRON =",
            "extension.py:9: NameError: name 'unknown' is",
        ),
        ("import json", "import requests", "extension.py:3: ModuleNotFoundError: No module named"),
        ("class WitWorld:", "class World:", "extension.py: AttributeError: module 'extension' has"),
        ("def handler(", "def handle(", "extension.py: TypeError: class WitWorld has no method"),
        (
            "def handler(",
            "async def handler(",
            "extension.py: TypeError: WitWorld.handler must not",
        ),
        (
            "(self, request: types.ExecuteRequest)",
            "(self)",
            "extension.py: TypeError: WitWorld.handler cannot take a request: too many positional",
        ),
        ("CRON =", "raise SystemExit(3)\nCRON =", "extension.py:9: SystemExit: 3"),
        (
            "import json",
            "import helper",
            "helper.py:1: ZeroDivisionError: division by zero\n    x = 1 / 0",
        ),
    ],
)
async def test_what_cannot_be_loaded_is_named_by_file_and_line(
    hello: Path, runner: Runner, before: str, after: str, message: str
) -> None:
    source = hello / "extension.py"
    source.write_text(source.read_text().replace(before, after, 1))
    (hello / "helper.py").write_text("x = 1 / 0\n")
    response = await runner.execute(installed_sources(hello, runner), method=LOAD_METHOD)
    shown = base64.b64decode(response.body_b64 or "").decode()
    assert (response.status, shown[: len(message)]) == (500, message)


async def test_an_exception_is_the_error_of_the_call(hello: Path, runner: Runner) -> None:
    source = hello / "extension.py"
    wanted = "    wanted = json.loads(http.body) if http.body else {}\n"
    text = source.read_text()
    assert wanted in text
    source.write_text(text.replace(wanted, f"{wanted}    helper.month(wanted)\n"))
    source.write_text(source.read_text().replace("import json\n", "import json\n\nimport helper\n"))
    (hello / "helper.py").write_text('def month(wanted):\n    return wanted["month"]\n')
    body = b'{"year": 1}'
    content_hash = installed_sources(hello, runner)
    response = await runner.execute(content_hash, "/api/report", method="POST", body=body)
    assert (response.status, response.error) == (500, "guest_trap: helper.py:2: KeyError: 'month'")


ANSWER = "types.ExecuteResponse(status, [header], json.dumps(body).encode())"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("None", "handler returned NoneType, not types.ExecuteResponse"),
        (
            'types.ExecuteResponse("200", [header], None)',
            "status of the answer must be 0 to 65535, and is '200'",
        ),
        (
            "types.ExecuteResponse(200, [7], None)",
            "headers of the answer must be a list of types.HttpHeader of two str, and is [7]",
        ),
        (
            "types.ExecuteResponse(200, [header], 'text')",
            "body of the answer must be bytes or None, and is 'text'",
        ),
    ],
)
async def test_an_answer_that_cannot_be_used_is_explained(
    hello: Path, runner: Runner, answer: str, message: str
) -> None:
    source = hello / "extension.py"
    text = source.read_text()
    assert ANSWER in text
    source.write_text(text.replace(ANSWER, answer))
    response = await runner.execute(installed_sources(hello, runner), "/api/report", method="POST")
    assert (response.status, response.error) == (500, f"guest_trap: TypeError: {message}")


async def test_a_source_in_another_encoding_keeps_its_characters(
    hello: Path, runner: Runner
) -> None:
    (hello / "helper.py").write_bytes(b'# -*- coding: latin-1 -*-\nMONTH = "M\xe4rz"\n')
    source = hello / "extension.py"
    text = source.read_text().replace("import json\n", "import json\n\nimport helper\n")
    source.write_text(text.replace('{"report": wanted', '{"report": helper.MONTH'))
    content_hash = installed_sources(hello, runner)
    response = await runner.execute(content_hash, "/api/report", method="POST")
    assert json_of(response) == {"report": "März", "for": "now"}


async def test_a_syntax_error_is_named_before_anything_is_installed(
    hello: Path, runner: Runner
) -> None:
    (hello / "helper.py").write_text("def broken(:\n")
    with pytest.raises(BuildFailed, match=r"helper\.py:1: invalid syntax\n    def broken\(:"):
        installed_sources(hello, runner)
    assert list(runner.components.iterdir()) == []


async def test_sources_that_were_changed_in_place_are_refused(hello: Path, runner: Runner) -> None:
    content_hash = installed_sources(hello, runner)
    file = sources_file(runner.components, content_hash)
    file.write_bytes(file.read_bytes().replace(b"created", b"changed"))
    status, answer = await runner.post(document(content_hash, "/api/setup", method="POST"))
    assert (status, answer["error"]) == (
        500,
        "component_unusable: the file's content does not have this hash",
    )


def test_another_module_of_the_standard_library_takes_another_interpreter(tmp_path: Path) -> None:
    text = "import json, sched, helper, requests\nfrom xml.dom import minidom\nfrom os import path"
    imports = standard_imports({"extension": text, "helper": ""})
    assert imports == {"json", "sched", "xml.dom", "xml.dom.minidom", "os", "os.path"}
    additional = imports - STANDARD
    assert additional == {"sched", "xml.dom", "xml.dom.minidom", "os", "os.path"}
    assert interpreter(additional).key != interpreter(frozenset()).key


def test_an_own_world_is_compiled(hello: Path) -> None:
    assert runs_from_sources(hello)
    (hello / "wit").mkdir()
    assert not runs_from_sources(hello)

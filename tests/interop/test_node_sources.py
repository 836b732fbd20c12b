"""JavaScript and TypeScript extensions that run from their sources: loaded, called, failing."""

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from devstack.errors import StackError
from devstack.extension import build_source
from devstack.javascript import install_dependencies
from devstack.javascript_sources import install_package_sources, package_entry
from runner_bridge.dev_runner.sources import LOAD_METHOD
from tests.support.node_packages import CACHE, LANGUAGES, example_package
from tests.support.running_extensions import Runner, development_runner, json_of
from tests.support.scheduling import MemoryScheduler

LOADED = 204

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(params=LANGUAGES)
def package(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of an example, with its packages, of which the copy has only a link."""
    return example_package(request.param, tmp_path)


@pytest.fixture
async def runner(tmp_path: Path) -> AsyncIterator[Runner]:
    directory = tmp_path / "runner"
    directory.mkdir()
    async with development_runner(directory, MemoryScheduler()) as running:
        yield running


def saved(package: Path, runner: Runner) -> str:
    """Install what is saved; return its content hash."""
    entry = package_entry(package)
    assert entry is not None
    return install_package_sources(package, entry, runner.components, CACHE / "built", 500)


def edit(file: Path, before: str, after: str) -> None:
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after, 1))


def source_of(package: Path) -> Path:
    return package / str(package_entry(package))


def line_of(file: Path, part: str) -> int:
    return next(n for n, line in enumerate(file.read_text().splitlines(), 1) if part in line)


async def test_a_change_needs_no_compiling(package: Path, runner: Runner) -> None:
    first = saved(package, runner)
    components = sorted(runner.components.glob("*.wasm"))
    created = await runner.execute(first, "/api/setup", method="POST")
    assert json_of(created) == {"created": True}
    helper = package / f"helper{source_of(package).suffix}"
    helper.write_text("export const EDITED = 1;\n")
    edit(source_of(package), "{ report: wanted,", "{ edited: EDITED,")
    edit(source_of(package), "import {", 'import { EDITED } from "./helper.js";\nimport {')
    second = saved(package, runner)
    assert second != first
    assert sorted(runner.components.glob("*.wasm")) == components
    assert (await runner.execute(second, method=LOAD_METHOD)).status == LOADED
    body = b'{"month": 3}'
    changed = await runner.execute(second, "/api/report", method="POST", body=body)
    assert json_of(changed) == {"edited": 1, "for": "now"}
    earlier = await runner.execute(first, "/api/report", method="POST", body=body)
    assert json_of(earlier) == {"report": {"month": 3}, "for": "now"}


async def test_an_exception_names_its_type_and_the_authors_line(
    package: Path, runner: Runner
) -> None:
    source = source_of(package)
    edit(source, "  logInfo(", '  if (slot) throw new RangeError("no such month");\n  logInfo(')
    call = await runner.execute(saved(package, runner), "/api/report", method="POST", body=b"{}")
    place = f"{source.name}:{line_of(source, 'throw new RangeError')}"
    assert (call.status, call.error) == (500, f"guest_trap: {place}: RangeError: no such month")


async def test_what_cannot_be_loaded_is_named_by_file_and_line(
    package: Path, runner: Runner
) -> None:
    source = source_of(package)
    edit(source, "const SCHEDULE", 'const BROKEN = JSON.parse("{");\nconst SCHEDULE')
    loading = await runner.execute(saved(package, runner), method=LOAD_METHOD)
    shown = base64.b64decode(loading.body_b64 or "").decode()
    assert loading.status == 500
    place = f"{source.name}:{line_of(source, 'const BROKEN')}"
    assert shown.startswith(f"{place}: SyntaxError: JSON.parse: ")
    assert shown.endswith('\n    const BROKEN = JSON.parse("{");')


async def test_an_extension_without_a_handler_is_refused(package: Path, runner: Runner) -> None:
    source_of(package).write_text("export const other = 1;\n")
    loading = await runner.execute(saved(package, runner), method=LOAD_METHOD)
    shown = base64.b64decode(loading.body_b64 or "").decode()
    assert shown == f"{source_of(package).name}: TypeError: no function handler is exported"


async def test_an_empty_module_is_refused_by_name(package: Path, runner: Runner) -> None:
    source_of(package).write_text("")
    loading = await runner.execute(saved(package, runner), method=LOAD_METHOD)
    shown = base64.b64decode(loading.body_b64 or "").decode()
    assert shown == f"{source_of(package).name}: TypeError: no function handler is exported"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("undefined", "handler returned undefined, not an object with status and headers"),
        (
            '{ status: "200", headers: [] }',
            "the answer cannot be used: status must be a number from 0 to 65535",
        ),
        (
            "{ status: 200 }",
            "the answer cannot be used: headers must be a list of objects with name and value",
        ),
        (
            '{ status: 200, headers: [], body: "text" }',
            "the answer cannot be used: body must be a Uint8Array, or be left out",
        ),
    ],
)
async def test_an_answer_that_cannot_be_used_is_explained(
    package: Path, runner: Runner, answer: str, message: str
) -> None:
    typed = " as any" if source_of(package).suffix == ".ts" else ""
    source_of(package).write_text(f"export const handler = () => ({answer}){typed};\n")
    call = await runner.execute(saved(package, runner), "/api/report")
    assert (call.status, call.error) == (500, f"guest_trap: {message}")


async def test_mistakes_are_shown_in_the_tools_own_words(package: Path, runner: Runner) -> None:
    source = source_of(package)
    text = source.read_text()
    source.write_text(f"{text}const x = ;\n")
    with pytest.raises(StackError, match=source.name) as syntax:
        saved(package, runner)
    assert "node:internal" not in str(syntax.value)
    source.write_text(f'import "./missing.js";\n{text}')
    with pytest.raises(StackError, match=r"missing\.js"):
        saved(package, runner)
    source.write_text(f'// @ts-ignore\nimport "wasi:clocks/wall-clock";\n{text}')
    with pytest.raises(StackError, match="wasi:clocks/wall-clock is not offered to extensions"):
        saved(package, runner)


def test_a_package_that_was_added_is_installed_before_the_next_build(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "package.json").write_text(f'{{"name": "{name}", "version": "1.0.0"}}')
    source = tmp_path / "extension"
    source.mkdir()
    for names in (["first"], ["first", "second"]):
        packages = {name: f"file:../{name}" for name in names}
        (source / "package.json").write_text(json.dumps({"dependencies": packages}))
        install_dependencies(source, 100)
        assert [name for name in names if not (source / "node_modules" / name).is_dir()] == []


def test_a_package_with_a_world_of_its_own_is_compiled(package: Path) -> None:
    with (package / "wit" / "extension.wit").open("a") as file:
        file.write("// mine\n")
    assert package_entry(package) is None


def test_watching_takes_the_sources(package: Path, runner: Runner) -> None:
    _, content_hash = build_source(package, runner.components, from_sources=True)
    digest = content_hash.removeprefix("sha256:")
    assert (runner.components / f"{digest}.sources.json").is_file()

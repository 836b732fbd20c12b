"""The published contract under the tools of those who will read it, through npm."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from jsonschema import Draft7Validator

ROOT = Path(__file__).parents[2]
SOURCE = Path(__file__).parent / "published"
CACHE = ROOT / ".cache" / "published"

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def tools() -> Path:
    """Return the installed packages, beside the cache and not in the tree."""
    CACHE.mkdir(parents=True, exist_ok=True)
    for file in (*SOURCE.iterdir(), ROOT / "docs" / "api" / "ext-scheduler.d.ts"):
        if file.is_file():
            shutil.copy(file, CACHE)
    run("npm", "install")
    return CACHE


def run(*command: str) -> str:
    done = subprocess.run(command, cwd=CACHE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_document_is_asyncapi_3(tools: Path) -> None:
    schemas = tools / "node_modules" / "@asyncapi" / "specs" / "schemas"
    validator = Draft7Validator(json.loads((schemas / "3.0.0.json").read_text()))
    document = json.loads((ROOT / "docs" / "api" / "asyncapi.json").read_text())
    assert [error.message for error in validator.iter_errors(document)] == []
    del document["channels"]["host.list"]["messages"]["request"]["payload"]["$ref"]
    document["operations"]["host.list"]["action"] = "answer"
    assert not validator.is_valid(document)


def test_the_declarations_compile_and_catch_mistakes(tools: Path) -> None:
    run(
        *("npx", "tsc", "--strict", "--noEmit", "--skipLibCheck", "false"),
        *("--module", "nodenext", "--target", "es2022", "usage.ts"),
    )


def test_the_javascript_of_the_extension_guide_fits_the_declarations(tools: Path) -> None:
    guide = (ROOT / "docs" / "extension-guide.md").read_text()
    [example] = re.findall(r"^```js\n(.*?)^```$", guide, re.DOTALL | re.MULTILINE)
    check = ["npx", "tsc", "--allowJs", "--checkJs", "--noEmit", "--noImplicitAny", "false"]
    check += ["--module", "nodenext", "--target", "es2022", "ext-scheduler.d.ts"]
    (tools / "guide.js").write_text(example)
    run(*check, "guide.js")
    (tools / "wrong.js").write_text(example.replace("endpoint:", "endpiont:"))
    with pytest.raises(AssertionError, match="endpiont"):
        run(*check, "wrong.js")

"""What the repository's files contain, and rules that a linter does not know.

Each rule is a function from a file to the complaints about it, so that it can be tried on a
planted violation.
"""

import ast
import fnmatch
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from msgspec import Struct

ROOT = Path(__file__).resolve().parents[2]

WITH_ASYNCPG = (
    "devstack/*",
    "service/storage/*",
    "service/operations/context.py",
    "service/app.py",
    "service/worker/job_consumer.py",
    "service/worker/job_notifications.py",
    "service/worker/outbox_publisher.py",
    "service/worker/firing/*",
    "service/worker/maintenance.py",
    "service/runtime/health.py",
    "service/worker/planner.py",
    "service/worker/presence.py",
    "service/worker/slot_audit.py",
    "service/worker/webhook_sender.py",
    "service/runtime/resources.py",
    "service/worker/worker.py",
    "service/cli/*",
)
WITH_NATS = (
    "devstack/*",
    "service/app.py",
    "service/bus/*",
    "service/worker/outbox_publisher.py",
    "service/worker/runner_client.py",
    "service/requests/responder.py",
    "service/requests/queue_share.py",
    "service/worker/worker.py",
    "service/cli/*",
    "runner_bridge/*",
)
HOMES = {
    "asyncpg": WITH_ASYNCPG,
    "axe_playwright_python": (),
    "cron_descriptor": ("service/rules/*",),
    "croniter": ("service/rules/*",),
    "jinja2": ("console/*",),
    "joserfc": ("contracts/*",),
    "nacl": ("contracts/*",),
    "nats": WITH_NATS,
    "pgqueuer": ("service/worker/worker.py", "service/storage/runs/queue.py"),
    "opentelemetry": ("service/runtime/tracing.py",),
    "playwright": (),
    "prometheus_client": (
        "service/runtime/metrics.py",
        "service/runtime/merged_metrics.py",
        "service/runtime/process_group.py",
        "service/runtime/health.py",
    ),
    "psutil": ("devstack/*",),
    "humanize": ("service/cli/*",),
    "rich": ("service/cli/*",),
    "ruamel": ("service/cli/*",),
    "typer": ("service/cli/*", "devstack/*"),
    "wasmtime": ("runner_bridge/dev_runner/*",),
}
"""Where each library lives. In tests, benchmarks and examples it may be used freely."""

# In pieces, so that this file does not complain about itself.
UNFINISHED = re.compile(
    "|".join(
        left + right
        for left, right in (
            (r"\bTO", r"DO\b"),
            (r"\bFIX", r"ME\b"),
            (r"\bXX", r"X\b"),
            ("NotImpl", r"ementedError"),
            ("pytest", r"\.skip"),
            ("import", "orskip"),
            (r"mark\.sk", "ip"),
            (r"mark\.xf", "ail"),
            (r"unittest", r"\.mock"),
        )
    )
)
MACHINE = re.compile(
    "|".join(
        left + right
        for left, right in (
            (r"(?<![\w.~}])/wo", r"rk/"),
            (r"(?<![\w.~}])/ro", r"ot/"),
            (r"(?<![\w.~}])/ho", r"me/\w"),
            (r"(?<![\w.~}])/Us", r"ers/\w"),
            ("/opt/", "wheels"),
            (r"pypi\.", "org"),
            ("python", r"hosted\.org"),
            (r"npmjs\.", "(org|com)"),
            (r"proxy\.", r"golang\.org"),
            (r"crates\.", "io"),
        )
    )
)
SUPPRESSION = re.compile(
    r"#\s*(noqa|type:\s*ignore)"
    r"(?P<codes>:\s*[A-Z]+\d+(,\s*[A-Z]+\d+)*|\[[\w, -]+\])?(?P<reason>.*)"
)
EMPTY_NAMES = re.compile(r"(Manager|Helper|Util|Utils|Base|Impl)$")
NO_VERB = re.compile(
    r"(A|All|An|Both|Each|Every|How|One|Some|That|The|What|When|Where|Whether|Which|Who)\b"
)
MOST_LINES = 300
MOST_LINES_OF_TESTS = 500


class Source(Struct, frozen=True):
    """One text file; ``path`` is relative to the repository, with forward slashes."""

    path: str
    text: str


Rule = Callable[[Source], list[str]]


def sources() -> Iterator[Source]:
    """Yield every text file that is, or would be, in the repository."""
    ignored = [line.strip("/") for line in (ROOT / ".gitignore").read_text().split() if line]
    yield from read(ROOT, [*ignored, ".git"])


def read(folder: Path, ignored: list[str]) -> Iterator[Source]:
    """Yield the text files below ``folder`` whose names match none of the patterns ``ignored``."""
    for path in sorted(folder.iterdir()):
        if any(fnmatch.fnmatch(path.name, pattern) for pattern in ignored):
            continue
        if path.is_dir():
            yield from read(path, ignored)
        elif b"\0" not in (content := path.read_bytes()):
            yield Source(path.relative_to(ROOT).as_posix(), content.decode())


def is_python(source: Source) -> bool:
    """Return whether the file is a Python module."""
    return source.path.endswith(".py")


def strangers(source: Source) -> list[str]:
    """Return the libraries imported outside the places that they have in ``HOMES``."""
    if not source.path.startswith(
        ("console/", "contracts/", "devstack/", "service/", "runner_bridge/")
    ):
        return []
    return [
        f"{source.path}: {library} has its home elsewhere"
        for library in sorted(imported(source) & HOMES.keys())
        if not any(fnmatch.fnmatch(source.path, home) for home in HOMES[library])
    ]


def imported(source: Source) -> set[str]:
    """Return the top-level names of the packages that a module imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source.text)):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


def unfinished(source: Source) -> list[str]:
    """Return the markers of work left undone, of tests not run, and of patching by import path."""
    return matches(source, UNFINISHED)


def machine_bound(source: Source) -> list[str]:
    """Return the paths of one machine, and addresses of package registries."""
    return matches(source, MACHINE)


def matches(source: Source, pattern: re.Pattern[str]) -> list[str]:
    """Return the lines in which ``pattern`` is found."""
    return [
        f"{source.path}:{number}: {found[0]}"
        for number, line in enumerate(source.text.splitlines(), 1)
        if (found := pattern.search(line))
    ]


def unexplained(source: Source) -> list[str]:
    """Suppressed lint or type complaints without a code, or without a reason on the same line."""
    return [
        f"{source.path}:{number}: {found[0]}"
        for number, line in enumerate(source.text.splitlines(), 1)
        if (found := SUPPRESSION.search(line))
        and (found["codes"] is None or len(found["reason"].strip(" #-:")) < 3)
    ]


def too_long(source: Source) -> list[str]:
    """Return a module that has become more than one idea."""
    lines = source.text.count("\n")
    most = MOST_LINES_OF_TESTS if source.path.startswith("tests/") else MOST_LINES
    return [f"{source.path}: {lines} lines"] if lines > most else []


def empty_names(source: Source) -> list[str]:
    """Return the classes whose names say nothing about what they are."""
    return [
        f"{source.path}:{node.lineno}: class {node.name}"
        for node in ast.walk(ast.parse(source.text))
        if isinstance(node, ast.ClassDef) and EMPTY_NAMES.search(node.name)
    ]


def verbless(source: Source) -> list[str]:
    """Return the functions outside the tests whose docstring does not begin with a verb."""
    if source.path.startswith("tests/"):
        return []
    return [
        f"{source.path}:{node.lineno}: {node.name}"
        for node in ast.walk(ast.parse(source.text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and NO_VERB.match(ast.get_docstring(node) or "")
    ]

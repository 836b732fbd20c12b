"""The tables of the guides that are written from the code, between markers in the pages.

``python -m tests.support.guide_tables`` writes them, as ``make docs`` does; a test compares them.
What a row says about a name is the docstring that stands below it in the code.
"""

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import Struct, to_builtins
from nats.aio.client import Client

from contracts import errors
from contracts.admin import ADMIN_OPS
from contracts.context import LEEWAY_S, MAX_LIFETIME_S, MAX_TOKEN_BYTES
from contracts.encoding import MAX_BODY_BYTES
from contracts.errors import NUMBERS, Code
from contracts.keys import MIN_SECRET_BYTES
from contracts.publish.schemas import ADMIN_REFUSALS, HOST_REFUSALS, service_errors
from contracts.schedules import HOST_OPS
from contracts.subjects import admin_subject, host_subject
from devstack.conformance.execute import execute_cases
from devstack.conformance.host import host_cases
from devstack.conformance.runner_peer import RunnerPeer
from devstack.conformance.samples import (
    INSTALL_ID,
    execute_document,
    foreign_key,
    sample_keys,
)
from devstack.conformance.scheduler_peer import SchedulerPeer
from devstack.conformance.vectors import documents
from runner_bridge.executor import ExecutorSettings
from runner_bridge.requests import RequestSettings
from service.runtime import settings as settings_module
from service.runtime.metrics import Metrics
from service.runtime.settings import Settings
from service.worker.firing.settings import FiringSettings
from tests.support.observed import BUILD_INFO, PREFIX, SPECIFIED
from tests.support.sources import ROOT

REGION = re.compile(r"(<!-- generated: ([\w-]+) -->\n).*?(<!-- end: \2 -->)", re.DOTALL)


def table(head: Sequence[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table."""
    lines = [list(head), ["---" for _ in head], *map(list, rows)]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def described(source: str, class_name: str) -> dict[str, str]:
    """Return the docstring below each member of a class, in one line.

    Raises LookupError for a member that has none.
    """
    [found] = [
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.ClassDef) and node.name == class_name
    ]
    texts: dict[str, str] = {}
    for member, after in zip(found.body, [*found.body[1:], ast.Pass()], strict=True):
        match member, after:
            case (
                (ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)])),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                texts[name] = " ".join(text.split())
            case (
                (ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)])),
                _,
            ):
                raise LookupError(f"{class_name}.{name} has no docstring below it")
    return texts


def spelled(value: object) -> str:
    """Return a default as the guides write it."""
    if isinstance(value, list | tuple):
        return ", ".join(f"`{item}`" for item in value)
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"`{text}`" if text else "empty"


def settings_table() -> str:
    """Return every setting with its default and meaning."""
    defaults: Mapping[str, object] = to_builtins(Settings())
    meanings = described(inspect.getsource(settings_module), "Settings")
    rows = ([f"`{name}`", spelled(value), meanings[name]] for name, value in defaults.items())
    return table(("setting", "default", "meaning"), rows)


def metrics_table() -> str:
    """Return every metric of ours with its labels and meaning."""
    families = {family.name: family for family in Metrics().registry.collect()}
    build = families[BUILD_INFO]
    rows = [[f"`{BUILD_INFO}`", build.type, "`version`, `python`", build.documentation]]
    for short, labels in SPECIFIED.items():
        family = families[PREFIX + short.removesuffix("_total")]
        names = ", ".join(f"`{label}`" for label in labels)
        rows.append([f"`{PREFIX}{short}`", family.type, names, family.documentation])
    return table(("metric", "type", "labels", "meaning"), rows)


def codes_table() -> str:
    """Return every error code, and for which kind of operation it is an error or a result."""
    as_error = {
        "host": {code for op, row in HOST_OPS.items() for code in service_errors(op, row)},
        "admin": {code for op, row in ADMIN_OPS.items() for code in service_errors(op, row)},
    }
    as_result = {
        "host": {code for codes in HOST_REFUSALS.values() for code in codes},
        "admin": {code for codes in ADMIN_REFUSALS.values() for code in codes},
    }
    meanings = described(inspect.getsource(errors), "Code")
    rows = (
        (
            f"`{code}`",
            str(NUMBERS[code]),
            kinds(code, as_error),
            kinds(code, as_result),
            meanings[code.name],
        )
        for code in Code
    )
    return table(("code", "number", "service error of", "negative result of", "when"), rows)


def kinds(code: Code, by_kind: Mapping[str, set[Code]]) -> str:
    """Return the kinds of operation whose set contains the code."""
    return ", ".join(kind for kind, codes in by_kind.items() if code in codes)


def host_operations_table() -> str:
    """Return every host operation with its subject, input and negative results."""
    rows = (
        (
            f"`{op}`",
            f"`{host_subject(op)}`",
            "change" if row.mutates else "read",
            members(row.input),
            listed(HOST_REFUSALS[op]),
        )
        for op, row in HOST_OPS.items()
    )
    return table(("operation", "subject", "kind", "input", "negative results"), rows)


def admin_operations_table() -> str:
    """Return every admin operation with its subject, permission, input and negative results."""
    rows = (
        (
            f"`{op}`",
            f"`{admin_subject(op)}`",
            f"`{row.permission}`" + (", operators only" if row.operator_only else ""),
            members(row.input),
            listed(ADMIN_REFUSALS[op]),
        )
        for op, row in ADMIN_OPS.items()
    )
    head = ("operation", "subject", "permission", "input", "negative results")
    return table(head, rows)


def members(input_type: type[Struct]) -> str:
    """Return the wire names of an input's members, ``?`` after those that may be absent."""
    signature = inspect.signature(input_type)
    return ", ".join(
        f"`{wire}`" if signature.parameters[name].default is signature.empty else f"`{wire}?`"
        for wire, name in zip(
            input_type.__struct_encode_fields__, input_type.__struct_fields__, strict=True
        )
    )


def listed(codes: Iterable[Code]) -> str:
    """Return codes separated by commas."""
    return ", ".join(f"`{code}`" for code in codes)


def limits_table() -> str:
    """Return the limits that an extension author meets, with the settings that change them."""
    defaults: Mapping[str, object] = to_builtins(Settings())
    meanings = described(inspect.getsource(settings_module), "Settings")
    names = ["min_interval_minutes", "max_schedules", "changes_per_minute", "max_cron_length"]
    names += ["max_timezone_length", "max_name_length", "max_endpoint_length"]
    names += ["max_payload_length", "max_payload_depth", "runner_timeout_s", "retry_delays_s"]
    names += ["catchup_window_s"]
    rows = ([meanings[name], spelled(defaults[name]), f"`{name}`"] for name in names)
    return table(("limit", "default", "operator's setting"), rows)


def numbers_table() -> str:
    """Return the fixed numbers and timeouts of the Runner's side."""
    requests, firing = RequestSettings(), FiringSettings()
    bridge_s = firing.runner_timeout_s + ExecutorSettings(runner_url="").margin_s
    rows = (
        ("body of a request, at most", f"{MAX_BODY_BYTES} bytes"),
        ("token, at most", f"{MAX_TOKEN_BYTES} characters"),
        ("lifetime of a token (`exp` - `iat`), at most", f"{MAX_LIFETIME_S} s"),
        ("difference between clocks, at most", f"{LEEWAY_S} s"),
        ("HS256 secret, at least", f"{MIN_SECRET_BYTES} bytes"),
        ("timeout of one attempt at a request", f"{requests.attempt_timeout_s:g} s"),
        (
            "delay before the second attempt, doubled for each further",
            f"{requests.first_delay_s:g} s",
        ),
        ("delay between attempts, at most", f"{requests.max_delay_s:g} s"),
        ("all attempts at a request", f"{requests.total_timeout_s:g} s"),
        ("execute: the Runner's limit (`timeout_ms`)", f"{firing.runner_timeout_s:g} s"),
        ("execute: the bridge's HTTP call", f"{bridge_s:g} s"),
        ("execute: the worker's request", f"{firing.call_timeout_s:g} s"),
        ("execute: the worker's lease on the run", f"{firing.lease.total_seconds():g} s"),
    )
    return table(("what", "value"), rows)


def runner_cases() -> str:
    """Return what the conformance kit asks of a Runner."""
    key = sample_keys()[-1]
    peer = RunnerPeer(
        client=Client(), subject="", key=key, foreign=foreign_key(key), document=_call_document()
    )
    return itemised(execute_cases(peer))


def scheduler_cases() -> str:
    """Return what the conformance kit asks of a scheduler service."""
    key = sample_keys()[0]
    peer = SchedulerPeer(
        client=Client(), key=key, foreign=foreign_key(key), install_id=INSTALL_ID, endpoint=""
    )
    return itemised(host_cases(peer))


def _call_document() -> Mapping[str, object]:
    document: Mapping[str, object] = to_builtins(execute_document())
    return document


def itemised(cases: Iterable[str]) -> str:
    """Return names of cases; those of a kind stand in one row."""
    kinds_of: dict[str, list[str]] = {}
    for case in cases:
        kind, _, name = case.partition(": ")
        kinds_of.setdefault(kind if name else "the rules", []).append(name or kind)
    return table(("about", "cases"), ((kind, "; ".join(of)) for kind, of in kinds_of.items()))


def frames() -> str:
    """Return frames as text and hexadecimal digits."""
    shown = []
    for name, frame in documents()["frames.json"].items():
        text = frame["text"].replace("\r\n", "\n").rstrip("\n")
        digits = "\n".join(textwrap.wrap(frame["hex"], 96))
        shown.append(f"**{name}**\n\n```text\n{text}\n```\n\n```text\n{digits}\n```\n")
    return "\n".join(shown)


TABLES: Mapping[str, Callable[[], str]] = {
    "settings": settings_table,
    "metrics": metrics_table,
    "codes": codes_table,
    "host-operations": host_operations_table,
    "admin-operations": admin_operations_table,
    "limits": limits_table,
    "numbers": numbers_table,
    "runner-cases": runner_cases,
    "scheduler-cases": scheduler_cases,
    "frames": frames,
}
"""Region name → its content."""


def renewed(text: str) -> str:
    """Return a page with all its regions as they should be; raise KeyError for an unknown one."""
    return REGION.sub(lambda match: match[1] + TABLES[match[2]]() + match[3], text)


def main() -> None:
    """Write every page of the guides that has regions."""
    for page in sorted((ROOT / "docs").glob("*.md")):
        text = page.read_text()
        if (new := renewed(text)) != text:
            page.write_text(new)


if __name__ == "__main__":
    main()

"""Writes the tables of ``docs/proof.md`` from the results that the runs left.

``python -m tests.support.proof_page``. Nothing between its marks is written by hand.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from msgspec import Struct

from model.check import NO_COMMIT, commit_of
from tests.mutation.__main__ import explained as without_effect
from tests.support.planted_results import PLANTED_RESULTS
from tests.support.proof_drills import healing_table, load_of_drill, of_drill, size_of_drills
from tests.support.proof_planted import planted_table
from tests.support.proof_text import NOT_AT_ONCE, mutation_summary, repeating
from tests.support.sources import ROOT

PAGE = ROOT / "docs" / "proof.md"
PROOF = ROOT / "docs" / "proof"
MODEL = ROOT / "model" / "results.json"
NOT_YET = "not run"


class Promise(Struct, frozen=True):
    """What is promised, and what of each check would have shown that it is broken.

    ``model`` is (model, property); the others are kinds of violations.
    """

    text: str
    model: tuple[str, str] | None
    simulation: tuple[str, ...]
    drill: tuple[str, ...]


PROMISES = (
    Promise(
        "a slot has at most one run",
        ("planning", "assertion at the insert"),
        ("slot with two runs",),
        ("slot with two occurrences",),
    ),
    Promise(
        "a slot that is due is fired, or counted as missed",
        ("planning", "`ltl every_slot_is_accounted_for`"),
        (
            "slot without its run",
            "missed count is not the number of missed slots",
            "slot unaccounted for by the account",
        ),
        ("slot missing", "missed count without missed slots"),
    ),
    Promise(
        "nothing fires that is not due",
        None,
        ("run for a slot that was not due", "run with the wrong trigger", "call without a run"),
        (
            "run for a slot that was not due",
            "run or call before its slot",
            "call without a run record",
        ),
    ),
    Promise(
        "a run ends",
        ("attempts", "`ltl every_slot_ends`"),
        ("run never ended", "work that is never done"),
        ("run never ended",),
    ),
    Promise(
        "an attempt is called once, and there are four at most",
        ("attempts", "assertion at the claim"),
        ("attempt called twice", "more attempts than allowed"),
        ("attempt called twice", "more attempts than allowed"),
    ),
    Promise(
        "what a worker writes that has lost its run changes nothing",
        ("attempts", "assertion at the write"),
        ("run that does not show its last attempt", "two events for the end of one run"),
        ("last-run fields wrong",),
    ),
    Promise(
        "a schedule is not called twice at once",
        ("attempts", "assertion at the claim"),
        ("two calls of a schedule at once",),
        ("two calls of a schedule at once",),
    ),
    Promise(
        "no call after an acknowledged pause, disabling or deletion, but of an attempt under way",
        ("attempts", "assertion at the call"),
        ("call although paused, disabled or deleted",),
        ("call for a deleted schedule", "call for a disabled schedule"),
    ),
    Promise(
        "an acknowledged change is kept, and its timer is right",
        None,
        ("timer that is wrong, missing or left over", "change refused without a reason"),
        (
            "acknowledged change lost",
            "schedule there that was deleted, or never made",
            "timer wrong, missing or left over",
        ),
    ),
)


def tables() -> dict[str, str]:
    """Return the tables of the page, by the names of their places."""
    simulation, mutation = (_read(PROOF / f"{name}.json") for name in ("simulation", "mutation"))
    drills = [json.loads(file.read_text()) for file in sorted(PROOF.glob("drill*.json"))]
    model, planted = json.loads(MODEL.read_text()), _read(PLANTED_RESULTS)
    cases = [case for case in model if not case["case"]["finds"]]
    return {
        "runs": _runs(cases, simulation, drills, mutation),
        "promises": _promises(cases, simulation, drills),
        "healing": healing_table(drills),
        "repeating": repeating(simulation, planted),
        "planted": planted_table(model, planted),
        "not-at-once": NOT_AT_ONCE,
        "mutation-summary": mutation_summary(mutation),
        "mutation": _mutation(mutation),
        "walk": _walk(_read(PROOF / "walk.json")),
    }


def _walk(walk: dict[str, Any]) -> str:
    """Return seconds until the answer was shown, by cause."""
    if not walk:
        return NOT_YET
    lines = ["| it did not run, because | finding | command line, s | console, s |"]
    lines.append("|---|---|--:|--:|")
    ways = ("command_line_s", "console_s")
    for row in walk["rows"]:
        seconds = " | ".join(f"{row[way]:.1f}" for way in ways)
        lines.append(f"| {row['cause']} | `{row['code']}` | {seconds} |")
    slowest = " | ".join(f"**{max(row[way] for row in walk['rows']):.1f}**" for way in ways)
    lines.append(f"| **the slowest; the aim is {walk['aim_s']}** | | {slowest} |")
    lines.append("")
    lines.append(
        f"Commit `{walk['commit'][:12]}`, {walk['date']}; {walk['processors']} processors with a"
        f" load of {walk['load']}."
    )
    return "\n".join(lines)


def _read(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text()) if file.exists() else {}


def _runs(
    cases: list[dict[str, Any]],
    simulation: dict[str, Any],
    drills: list[dict[str, Any]],
    mutation: dict[str, Any],
) -> str:
    states = sum(case["states"] for case in cases)
    lines = ["| check | size | seed | commit |", "|---|---|---|---|"]
    lines.append(
        f"| [model](model.md) | {len(cases)} runs without an error, {states:,} states"
        f" | all states, or by hash | {_of_model(cases)} |"
    )
    if simulation:
        counts = simulation["counts"]
        lines.append(
            f"| [simulation](#the-simulation) | {simulation['slots']:,} slots,"
            f" {simulation['fired']:,} of them fired, {counts.get('call', 0):,} calls,"
            f" {simulation['worlds']} worlds, {simulation['seconds']:,} s"
            f" | {simulation['seed']} | {_commit(simulation['commit'])} |"
        )
    lines += [
        f"| [drill](drill.md), {of_drill(drill)} | {size_of_drills([drill])},"
        f" {drill['seconds']:,} s{load_of_drill(drill)}"
        f" | {drill['seed']} | {_commit(drill['commit'])} |"
        for drill in drills
    ]
    lines.append(f"| **the {len(drills)} drills together** | {size_of_drills(drills)} | | |")
    if mutation:
        tried = sum(group["mutants"] for group in mutation["groups"].values())
        modules = mutation["modules"].values()
        tested = {each["commit"] for each in modules} | {each.get("again") for each in modules}
        shown = ", ".join(sorted(_commit(each) for each in tested if each))
        lines.append(f"| [mutation](#mutation-of-the-code) | {tried:,} mutants | — | {shown} |")
    return "\n".join(lines)


def _of_model(cases: list[dict[str, Any]]) -> str:
    """Return how many runs of the model are of which commit."""
    runs = Counter(commit_of(case) for case in cases)
    if len(runs) == 1:
        return str(next(iter(runs)))
    return ", ".join(
        f"{commit if commit != NO_COMMIT else 'not recorded'} ({count})"
        for commit, count in runs.items()
    )


def _commit(text: str) -> str:
    """Return a commit as it is shown; a mark says that something had been changed since."""
    number, _, changed = text.partition("-")
    return f"`{number[:12]}{'-' if changed else ''}{changed}`"


def _promises(
    cases: list[dict[str, Any]], simulation: dict[str, Any], drills: list[dict[str, Any]]
) -> str:
    lines = ["| promise | model | simulation | drill |", "|---|---|---|---|"]
    lines += [
        f"| {promise.text} | {_model(promise, cases)}"
        f" | {_violations(promise.simulation, simulation)}"
        f" | {_violations(promise.drill, *drills)} |"
        for promise in PROMISES
    ]
    return "\n".join(lines)


def _model(promise: Promise, cases: list[dict[str, Any]]) -> str:
    if promise.model is None:
        return "—"
    model, checked = promise.model
    liveness = "ltl" in checked
    of_kind = [
        case
        for case in cases
        if case["case"]["model"] == model and case["case"]["liveness"] == liveness
    ]
    errors = sum(case["error"] for case in of_kind)
    states = sum(case["states"] for case in of_kind)
    return f"{checked}: {errors} errors in {states:,} states"


def _violations(kinds: tuple[str, ...], *results: dict[str, Any]) -> str:
    if not results or not all(results):
        return NOT_YET
    found = [each["violations"] for each in results]
    return "; ".join(
        f"{kind}: {sum(each[kind] for each in found) if _all_look(kind, found) else NOT_YET}"
        for kind in kinds
    )


def _all_look(kind: str, found: list[dict[str, int]]) -> bool:
    """Return whether all results, some of which are older, look for this kind of violation."""
    return all(kind in each for each in found)


def _mutation(mutation: dict[str, Any]) -> str:
    lines = [
        "| module | mutants | killed | explained | survived | share tried |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for name, module in mutation.get("modules", {}).items():
        explained = without_effect(name, module)
        survived = len(module["survived"]) - explained
        killed = module["mutants"] - explained - survived
        lines.append(
            f"| `{name}` | {module['mutants']} | {killed} | {explained} | {survived}"
            f" | {module['share']:.0%} |"
        )
    for name, group in mutation.get("groups", {}).items():
        lines.append(
            f"| **{name}** | {group['mutants']} | {group['killed_percent']} %"
            f" | {group['explained']} | {group['survived']} | |"
        )
    return "\n".join(lines)


def written(page: str) -> str:
    """Return the page with its tables as the results have them."""
    for name, table in tables().items():
        begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
        head, _, rest = page.partition(begin)
        _, found, tail = rest.partition(end)
        assert found, name
        page = f"{head}{begin}{table}\n{end}{tail}"
    return page


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))

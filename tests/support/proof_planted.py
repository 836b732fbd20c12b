"""Which planted fault is found by which of model, simulation and drill: a table of the proof."""

from typing import Any

from msgspec import Struct

from model.check import commit_of


class Planted(Struct, frozen=True):
    """A fault, and its names where it is planted: mutations of the model, and the two ``--plant``.

    Several mutations are ways to take the same guard away.
    """

    text: str
    model: tuple[str, ...] = ()
    simulation: str | None = None
    drill: str | None = None


PLANTED_FAULTS = (
    Planted("a slot's run is not unique", ("no unique key",), "no-unique-key", "twice"),
    Planted("a slot is passed over", ("timer moved without its run",), "forgotten-slot", "skip"),
    Planted(
        "a worker that has lost its run writes",
        ("results without the fence", "claim without checking the fence"),
        "no-fence",
    ),
    Planted(
        "runs of a schedule overlap",
        ("no look at the active run", "planned and claimed over an active run"),
        "no-hold",
    ),
    Planted(
        "a call although paused, disabled or deleted",
        ("call although paused or deleted", "schedule read before the claim"),
        "no-look",
        "stale",
    ),
    Planted(
        "a claim at once of what was disabled meanwhile",
        ("schedule read before it is planned",),
        "early-look",
    ),
    Planted("a claim without the lease", ("claim without the lease",), "no-lease"),
    Planted("attempts without a limit", ("attempts without a limit",), "no-limit"),
    Planted("nobody takes over", ("no takeover",), "no-takeover"),
    Planted("no repair of runs without a job", ("no repair of runs without a job",), "no-repair"),
    Planted("each attempt has a key of its own", simulation="own-keys", drill="keys"),
)


def planted_table(model: list[dict[str, Any]], kept: dict[str, dict[str, Any]]) -> str:
    """Return the table, and a sentence that tells what only one of the three has found.

    ``model`` are all results of the model, ``kept`` those of planted faults by check and name.
    """
    mutations = {each["case"]["name"]: each for each in model}
    lines = ["| planted | model | simulation | drill | found by |", "|---|---|---|---|--:|"]
    finders = dict[str, list[str]]()
    for fault in PLANTED_FAULTS:
        of_model = [mutations.get(name) for name in fault.model]
        simulated = kept.get("simulation", {}).get(fault.simulation or "")
        drilled = kept.get("drill", {}).get(fault.drill or "")
        found = {
            "the model": bool(of_model) and all(each and each["error"] for each in of_model),
            "the simulation": bool(simulated and simulated["found"]),
            "the drill": bool(drilled and drilled["found"]),
        }
        finders[fault.text] = [check for check, finds in found.items() if finds]
        cells = (
            "; ".join(map(_of_mutation, fault.model, of_model)) or "—",
            _of_plant(fault.simulation, simulated, "steps"),
            _of_plant(fault.drill, drilled, "faults"),
        )
        lines.append(f"| {fault.text} | {' | '.join(cells)} | {len(finders[fault.text])} |")
    return "\n".join([*lines, "", _summary(finders)])


def _summary(finders: dict[str, list[str]]) -> str:
    several = sum(len(checks) > 1 for checks in finders.values())
    words = [f"{several} of the {len(finders)} are found by at least two of the three."]
    for check in sorted({check for checks in finders.values() for check in checks}):
        alone = [text for text, checks in finders.items() if checks == [check]]
        if alone:
            words.append(f"By {check} alone: {'; '.join(alone)}.")
    unfound = [text for text, checks in finders.items() if not checks]
    if unfound:
        words.append(f"By none in a run that was kept: {'; '.join(unfound)}.")
    return "\n".join(words)


def _of_mutation(name: str, result: dict[str, Any] | None) -> str:
    if result is None:
        return f"{name}: no run kept"
    if not result["error"]:
        return f"{name}: NOT FOUND"
    return f"{name}: {result['states']:,} states, {commit_of(result)}"


def _of_plant(name: str | None, result: dict[str, Any] | None, effort: str) -> str:
    if name is None:
        return "—"
    if result is None:
        return f"`{name}`: no run kept"
    found = "; ".join(result["found"]) or "NOT FOUND"
    counted = f"{result[effort]:,} {effort}, " if effort in result else ""
    return f"`{name}`: {found} ({counted}seed {result['seed']}, `{result['commit']}`)"

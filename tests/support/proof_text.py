"""Sentences of the proof that depend on results: what repeats exactly, and what mutation leaves."""

from typing import Any

from tests.mutation.targets import targets

AIMS = {"rules": 95, "workers": 85}
"""Percent of the mutants that tests are to kill, by group."""

ONE_AT_A_TIME = """\
What the workers do to others — statements, messages, new connections — is done one step at a
time, its answer awaited, in an order that the seed decides (`tests/simulation/turns.py`); ids,
jitter, tokens and the monotonic clock follow from the seed too (`tests/simulation/seeded.py`).
A digest of the steps in their order is kept and printed: where two runs have the same one, the
second repeated the first exactly. Tasks and futures in a set are in the order of their making, not
of their places in memory; steps that wait with the same text, in that of what their tasks do. What
is repeated is the steps, their order, and what they read and write;
not how long a step takes, in which process of PostgreSQL it is done, and when memory is collected.
A test repeats a world of 40 slots so, by the command that was printed. That each longer world
repeats is not proven: only what two runs of each of the following show, of the commits below."""

NOT_AT_ONCE = """\
- **Statements that overlap inside PostgreSQL**, in the simulation: they are done one after the
  other, except that one may wait for a lock while others go on. Races within the server are in the
  drill, and in the tests on a real database."""

BEFORE_TURNS = """\
The large run in the table above is of a commit before that: which of two tasks went on first was
chance there."""


def repeating(simulation: dict[str, Any], kept: dict[str, dict[str, Any]]) -> str:
    """Return what is known of how exactly a seed repeats a world.

    ``simulation`` is the large run, ``kept`` the results of planted faults by check and name.
    """
    lines = [ONE_AT_A_TIME]
    every = kept.get("simulation", {})
    planted = {name: each for name, each in every.items() if "digests" in each}
    if planted:
        same = [name for name, each in planted.items() if _repeated(each)]
        others = [f"`{name}`" for name in planted if name not in same]
        least, most = (bound(each["steps"] for each in planted.values()) for bound in (min, max))
        lines.append(
            f"Of {len(planted)} worlds with a planted fault, of {least:,} to {most:,} steps, each"
            f" run twice from its seed, {len(same)} had the same steps"
            + (f"; not so {', '.join(others)}." if others else ".")
        )
    if simulation and "digests" not in simulation:
        lines.append(BEFORE_TURNS)
    return "\n".join(lines)


def _repeated(planted: dict[str, Any]) -> bool:
    first, second = planted["digests"]
    return bool(first == second)


LEAST_SAMPLE = 100
"""Of fewer mutants than this the page says that they say little."""


def mutation_summary(mutation: dict[str, Any]) -> str:
    """Return how much of each group was tried, what survived, and where that is listed."""
    lines = [_of_group(name, mutation) for name in mutation["groups"]]
    again = {name: each["again"] for name, each in mutation["modules"].items() if "again" in each}
    if again:
        shown = ", ".join(f"`{name}` (`{commit}`)" for name, commit in again.items())
        lines.append(f"\nTests were added since, and the survivors alone tried again, of {shown}.")
    lines.append(
        "\nThe survivors are listed, line by line, as `survived` of each module in"
        " [`proof/mutation.json`](proof/mutation.json)."
    )
    return "\n".join(lines)


def _of_group(name: str, mutation: dict[str, Any]) -> str:
    group = mutation["groups"][name]
    modules = {key: each for key, each in mutation["modules"].items() if each["group"] == name}
    tried, possible = group["mutants"], sum(each["possible"] for each in modules.values())
    counted = tried - group["explained"]
    aim = "as aimed at" if group["killed_percent"] >= AIMS[name] else "below the aim"
    survived = 100 - group["killed_percent"]
    words = (
        f"{survived:.1f} % survived ({group['survived']} of {counted:,} without the explained):"
        f" {group['killed_percent']} % killed, {aim} of {AIMS[name]} %."
    )
    if tried == possible:
        return f"- **{name}**: all {tried:,} mutants were tried; {words}"
    seeds = ", ".join(str(seed) for seed in sorted({each["seed"] for each in modules.values()}))
    left_out = sorted({each.module for each in targets() if each.group == name} - modules.keys())
    shown = ", ".join(f"`{module}`" for module in left_out)
    return (
        f"- **{name}**: a sample, {tried:,} of {possible:,} mutants of {len(modules)} modules"
        f" (seed {seeds}){', which says little' if tried < LEAST_SAMPLE else ''}; {words}"
        + (f" Nothing was tried of {shown}." if left_out else "")
    )

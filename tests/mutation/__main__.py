"""``make mutation``: change one small thing at a time, and see whether a test notices.

Runs the tests that are about a module against each of its mutants, and tells which survived. Those
that are explained in ``explained.json`` change nothing that anybody could see.
"""

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from tests.mutation.mutants import Mutant, count, mutants
from tests.mutation.targets import Target, targets
from tests.mutation.tried import Fate, try_all
from tests.support.sources import ROOT
from tests.support.tested_commit import tested_commit

PROOF = ROOT / "docs" / "proof" / "mutation.json"
EXPLAINED = Path(__file__).parent / "explained.json"


def main() -> int:
    """Run; return the exit status: 1 where an unexplained mutant survived."""
    options = argparse.ArgumentParser(prog="make mutation", description=__doc__)
    options.add_argument("modules", nargs="*", help="part of the paths of the modules")
    options.add_argument("--share", type=float, default=1.0, help="share of the mutants, at random")
    options.add_argument("--seed", type=int, default=1, help="which share")
    options.add_argument("--proof", action="store_true", help=f"write {PROOF.name}")
    options.add_argument("--again", action="store_true", help="the published survivors alone")
    chosen = options.parse_args()
    unexplained = 0
    for target in targets():
        if chosen.modules and not any(part in target.module for part in chosen.modules):
            continue
        if chosen.again:
            before = published()["modules"].get(target.module)
            if before is None or len(before["survived"]) == explained(target.module, before):
                continue
            result = mutate_again(target, before)
        else:
            origin = {"commit": tested_commit(), "share": chosen.share, "seed": chosen.seed}
            sample = list(sampled(target, chosen.share, chosen.seed))
            result = {**mutate(target, sample), **origin}
        unexplained += len(result["survived"]) - explained(target.module, result)
        if chosen.proof:
            write(target.module, result)
    return 1 if unexplained else 0


def sampled(target: Target, share: float, seed: int) -> Iterator[Mutant]:
    """Yield the mutants of a module that this share has."""
    random = Random(seed)
    for mutant in mutants((ROOT / target.module).read_text()):
        if random.random() < share:
            yield mutant


def mutate(target: Target, sample: Sequence[Mutant]) -> dict[str, Any]:
    """Try mutants of a module; return the counts, and those that survived."""
    module, began = ROOT / target.module, time.monotonic()
    without_effect = explanations(target.module)
    fates, left = Counter[str](), list(sample)
    name = target.module.removesuffix(".py").replace("/", ".")
    harmless: list[Mutant] = []
    for place, tests in enumerate(stages(target.tests)):
        if place > 0:
            harmless += [each for each in left if described(module, each) in without_effect]
        tried, left = [each for each in left if each not in harmless], []

        def note(mutant: Mutant, fate: Fate, left: list[Mutant] = left) -> None:
            if fate is Fate.SURVIVED:
                left.append(mutant)
            else:
                fates[fate.value] += 1

        if tried:
            try_all(name, tests, tried, note)
    left = [*harmless, *left]
    survived = [described(module, mutant) for mutant in left]
    if left:
        fates[Fate.SURVIVED.value] = len(left)
    for mutant, said in zip(left, survived, strict=True):
        if said not in without_effect:
            print(f"{target.module}:{mutant.line}: {said}", flush=True)
    tested, seconds = sum(fates.values()), time.monotonic() - began
    assert tested == len(sample), f"{target.module}: only {tested} of {len(sample)} were tried"
    print(f"{target.module}: {tested} mutants in {seconds:.0f} s, {dict(fates)}", flush=True)
    return {
        "group": target.group,
        "possible": count(module.read_text()),
        "mutants": tested,
        "fates": dict(fates),
        "survived": survived,
    }


def stages(tests: Sequence[str]) -> list[list[str]]:
    """Return the tests, the cheap ones first: the others are only for what those leave alive."""
    kinds = ("tests/unit/", "tests/integration/test_storage_", "")
    found: dict[str, list[str]] = {kind: [] for kind in kinds}
    for test in tests:
        found[next(kind for kind in kinds if test.startswith(kind))].append(test)
    return [stage for stage in found.values() if stage]


def mutate_again(target: Target, before: dict[str, Any]) -> dict[str, Any]:
    """Try those again that survived and are not explained; return the results with that.

    The others were killed by tests that are still there. Raises AssertionError where the module has
    other mutants than it had.
    """
    module = ROOT / target.module
    sample = list(sampled(target, before["share"], before["seed"]))
    said = [described(module, mutant) for mutant in sample]
    assert len(sample) == before["mutants"], target.module
    assert set(before["survived"]) <= set(said), target.module
    left = set(before["survived"]) - explanations(target.module).keys()
    pairs = zip(said, sample, strict=True)
    found = mutate(target, [mutant for text, mutant in pairs if text in left])
    survived = [text for text in before["survived"] if text not in left] + found["survived"]
    killed = before["mutants"] - len(survived)
    fates = {Fate.KILLED.value: killed, Fate.SURVIVED.value: len(survived)}
    return {**before, "fates": fates, "survived": survived, "again": tested_commit()}


def published() -> dict[str, Any]:
    """Return the results that were written."""
    empty: dict[str, Any] = {"modules": {}}
    return json.loads(PROOF.read_text()) if PROOF.exists() else empty


def explanations(module: str) -> dict[str, str]:
    """Return why mutants of a module change nothing that anybody could see."""
    found: dict[str, str] = json.loads(EXPLAINED.read_text()).get(module, {})
    return found


def explained(module: str, result: dict[str, Any]) -> int:
    """Return how many of a module's surviving mutants are explained."""
    return sum(each in explanations(module) for each in result["survived"])


def described(module: Path, mutant: Mutant) -> str:
    """Return the line as it is, and what was changed in it."""
    lines = module.read_text().splitlines()
    return f"{lines[mutant.line - 1].strip()} | {mutant.what}"


def write(module: str, result: dict[str, Any]) -> None:
    """Write the results of a module, those of the others kept as they were."""
    document = published()
    document["modules"][module] = result
    document["modules"] = dict(sorted(document["modules"].items()))
    document["groups"] = groups(document["modules"])
    PROOF.write_bytes(msgspec.json.format(msgspec.json.encode(document)) + b"\n")


def groups(modules: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the counts of each group, and the share of the mutants that were killed."""
    counted: dict[str, dict[str, Any]] = {}
    for group in sorted({each["group"] for each in modules.values()}):
        of_group = {name: each for name, each in modules.items() if each["group"] == group}
        tried = sum(each["mutants"] for each in of_group.values())
        without_effect = sum(explained(name, each) for name, each in of_group.items())
        survived = sum(len(each["survived"]) for each in of_group.values()) - without_effect
        counted[group] = {
            "mutants": tried,
            "explained": without_effect,
            "survived": survived,
            "killed_percent": round(100 * (1 - survived / max(tried - without_effect, 1)), 1),
        }
    return counted


if __name__ == "__main__":
    sys.exit(main())

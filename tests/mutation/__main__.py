"""``make mutation``: change one small thing at a time, and see whether a test notices.

Runs the tests that are about a module against each of its mutants, and tells which survived. Those
that are explained in ``explained.json`` change nothing that anybody could see.
"""

import argparse
import json
import sys
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from tests.mutation.mutants import Mutant, mutants
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
    chosen = options.parse_args()
    unexplained = 0
    for target in targets():
        if chosen.modules and not any(part in target.module for part in chosen.modules):
            continue
        result = mutate(target, chosen.share, chosen.seed)
        unexplained += len(result["survived"]) - explained(target.module, result)
        if chosen.proof:
            write(target.module, result, chosen.share, chosen.seed)
    return 1 if unexplained else 0


def mutate(target: Target, share: float, seed: int) -> dict[str, Any]:
    """Try the mutants of a module; return the counts, and those that survived."""
    module, began = ROOT / target.module, time.monotonic()
    explained = explanations(target.module)
    random, fates, survived = Random(seed), Counter[str](), list[str]()
    possible = list(mutants(module.read_text()))
    chosen = [each for each in possible if random.random() < share]

    def note(mutant: Mutant, fate: Fate) -> None:
        fates[fate.value] += 1
        if fate is Fate.SURVIVED:
            survived.append(described(module, mutant))
            if survived[-1] not in explained:
                print(f"{target.module}:{mutant.line}: {survived[-1]}", flush=True)

    name = target.module.removesuffix(".py").replace("/", ".")
    try_all(name, target.tests, chosen, note)
    tested, seconds = sum(fates.values()), time.monotonic() - began
    assert tested == len(chosen), f"{target.module}: only {tested} of {len(chosen)} were tried"
    print(f"{target.module}: {tested} mutants in {seconds:.0f} s, {dict(fates)}", flush=True)
    return {
        "group": target.group,
        "possible": len(possible),
        "mutants": tested,
        "fates": dict(fates),
        "survived": survived,
    }


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


def write(module: str, result: dict[str, Any], share: float, seed: int) -> None:
    """Write the results of a module, those of the others kept as they were."""
    document: dict[str, Any] = {"modules": {}}
    if PROOF.exists():
        document = json.loads(PROOF.read_text())
    document["modules"][module] = {
        **result,
        "commit": tested_commit(),
        "share": share,
        "seed": seed,
    }
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

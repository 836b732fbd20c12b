"""The npm packages of this repository, packed as npm would publish them, and programs on them."""

import json
import shutil
import subprocess
from pathlib import Path

from tests.support.sources import ROOT

NPM = ROOT / "npm"
CACHE = ROOT / ".cache" / "npm"


def run(*command: str, directory: Path) -> str:
    """Run a command that must succeed; return its output."""
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def installed(package: str, program: Path) -> Path:
    """Build and pack a package, and install it for a program; return the program's copy.

    The copies are beside the cache and not in the tree; the program finds ``PACKAGE.tgz``.
    """
    built, user = CACHE / package, CACHE / f"{package}-user"
    for source, target in ((NPM / package, built), (program, user)):
        ignored = shutil.ignore_patterns("node_modules", "dist", "build", "lib")
        shutil.copytree(source, target, dirs_exist_ok=True, ignore=ignored)
    run("npm", "install", directory=built)
    packed = json.loads(run("npm", "pack", "--json", directory=built))
    [described] = packed if isinstance(packed, list) else packed.values()
    shutil.copy(built / described["filename"], user / f"{package}.tgz")
    # npm takes an archive of the same version for the one that is installed.
    shutil.rmtree(user / "node_modules" / "@ext-scheduler", ignore_errors=True)
    for lock in (user / "package-lock.json", user / "node_modules" / ".package-lock.json"):
        lock.unlink(missing_ok=True)
    run("npm", "install", directory=user)
    return user

"""The program of an earlier release, installed from its commit, to run beside the present one."""

import subprocess
import sys
from pathlib import Path

CACHE = Path(".cache/releases")
"""Below the repository's root, which a drill is started in."""


def install(commit: str) -> Path:
    """Return the program of a commit, installed in an environment of its own.

    What was installed once is used again. Raises CalledProcessError where git does not know the
    commit, or pip cannot install it.
    """
    full = _output("git", "rev-parse", "--verify", f"{commit}^{{commit}}")
    home = CACHE.resolve() / full
    program = home / "venv" / "bin" / "ext-scheduler"
    if not program.exists():
        source = home / "source"
        source.mkdir(parents=True, exist_ok=True)
        archive = subprocess.run(["git", "archive", full], check=True, capture_output=True)
        subprocess.run(["tar", "-x", "-C", str(source)], input=archive.stdout, check=True)
        subprocess.run([sys.executable, "-m", "venv", str(home / "venv")], check=True)
        pip = [str(home / "venv" / "bin" / "pip"), "--disable-pip-version-check", "install", "-q"]
        pins = ["-c", str(source / "constraints.txt")]
        subprocess.run([*pip, *pins, "setuptools"], check=True)
        subprocess.run([*pip, *pins, "--no-build-isolation", str(source)], check=True)
    return program


def latest_tag() -> str | None:
    """Return the latest tag; None where nothing was released yet."""
    return _output("git", "tag", "--sort=-creatordate").partition("\n")[0] or None


def _output(*command: str) -> str:
    completed = subprocess.run(command, check=True, capture_output=True, text=True)
    return completed.stdout.strip()

"""Which commit a run tested, for the results that it leaves."""

import subprocess

from tests.support.sources import ROOT


def tested_commit() -> str:
    """Return the commit of the checkout; with a mark where anything but documents is changed."""
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!docs", ":!*.json")
    return _git("rev-parse", "--short=12", "HEAD") + ("-dirty" if changed else "")


def _git(*words: str) -> str:
    command = ["git", "-C", str(ROOT), *words]
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout.strip()

"""Where the stack finds its files, and where it keeps what it makes."""

import os
import shlex
import shutil
import sysconfig
from pathlib import Path

DISTRIBUTION = "ext-scheduler"
_ABOVE = Path(__file__).resolve().parents[1]
_IN_CHECKOUT = (_ABOVE / "nats.conf").is_file()


def shipped_files() -> Path:
    """Return the directory of ``nats.conf`` and ``examples``: the checkout's, or the wheel's."""
    return _ABOVE if _IN_CHECKOUT else Path(sysconfig.get_path("data"), "share", DISTRIBUTION)


def cache_directory() -> Path:
    """Return where compiled extensions are kept: in the checkout, or with the user's caches."""
    if _IN_CHECKOUT:
        return _ABOVE / ".cache"
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches, DISTRIBUTION)


def program() -> str:
    """Return how a shell starts this installation's ``ext-scheduler``."""
    installed = Path(sysconfig.get_path("scripts"), DISTRIBUTION)
    found = shutil.which(DISTRIBUTION)
    if found is not None and Path(found).resolve() == installed.resolve():
        return DISTRIBUTION
    here = Path.cwd()
    return shlex.quote(
        str(installed.relative_to(here) if installed.is_relative_to(here) else installed)
    )


NATS_CONF = shipped_files() / "nats.conf"
SAMPLE = shipped_files() / "examples" / "scheduler_demo"
CACHE = cache_directory()
COMPILED_CACHE = CACHE / "compiled"

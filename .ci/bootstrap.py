"""Make ``.venv`` hold exactly what pyproject.toml and constraints.txt ask for.

Standard library only; some 50 ms when there is nothing to do. Safe to run from several ``make`` at
once: one installs, the others wait. The marker is written last and by renaming, so an installation
that was cut short is taken up again.
"""

import fcntl
import hashlib
import json
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
MARKER = VENV / ".ready"
LOWEST = (3, 11)


def wanted() -> str:
    """Return a digest of all that decides what is installed, interpreter and path included."""
    import tomllib  # noqa: PLC0415 - absent before 3.11, where main() has to print its own message

    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())
    parts = (
        sys.version_info[:2],
        str(ROOT),
        declared["build-system"],
        declared["project"],
        (ROOT / "constraints.txt").read_text(),
    )
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def present() -> str:
    """Return the digest of what was installed last, empty when nothing was."""
    return MARKER.read_text() if MARKER.exists() else ""


def install(digest: str) -> None:
    """Create or bring up to date the environment. Raises CalledProcessError when pip fails."""
    MARKER.unlink(missing_ok=True)
    if not runs_here():
        venv.create(VENV, clear=True, with_pip=True)
    pip = [
        str(VENV / "bin" / "python"),
        "-m",
        "pip",
        "--disable-pip-version-check",
        "install",
        "-q",
    ]
    pins = ["-c", str(ROOT / "constraints.txt")]
    # The build back end comes from the pins too: without isolation pip fetches no other one.
    subprocess.run([*pip, *pins, "setuptools"], check=True, cwd=ROOT)
    subprocess.run(
        [*pip, *pins, "--no-build-isolation", "-e", f"{ROOT}[contributing]"], check=True, cwd=ROOT
    )
    fresh = MARKER.with_suffix(".new")
    fresh.write_text(digest)
    fresh.replace(MARKER)


def runs_here() -> bool:
    """Return whether .venv is of this Python version and was made here (scripts hold its path)."""
    question = "import sys; print(sys.version_info[:2], sys.prefix)"
    try:
        answer = subprocess.run(
            [str(VENV / "bin" / "python"), "-c", question],
            check=True,
            capture_output=True,
            text=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return False
    moved = (
        not (VENV / "bin" / "pip").exists() or str(VENV) not in (VENV / "bin" / "pip").read_text()
    )
    return not moved and answer.stdout.strip() == f"{tuple(sys.version_info[:2])} {VENV}"


def main() -> int:
    """Return exit status 0 when .venv is ready; else print why not, and return 1."""
    if sys.version_info < LOWEST:
        found = sys.version.split()[0]
        print(f"ext-scheduler needs Python 3.11 or newer; {sys.executable} is {found}.")
        print("Name another one: make PYTHON=python3.12 …")
        return 1
    locks = ROOT / ".cache"
    locks.mkdir(exist_ok=True)
    with (locks / "bootstrap.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        digest = wanted()
        if present() == digest:
            return 0
        print("Installing into .venv (a minute or so the first time) …", flush=True)
        try:
            install(digest)
        except subprocess.CalledProcessError as failure:
            command = " ".join(map(str, failure.cmd))
            print(f"Could not install: {command} ended with {failure.returncode}.")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

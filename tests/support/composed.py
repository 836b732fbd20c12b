"""compose.yaml as a program would read it, and secrets as ``deploy/prepare.sh`` makes them."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.support.sources import ROOT

COMPOSE: dict[str, Any] = YAML(typ="safe").load(ROOT / "compose.yaml")
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
SECRETS = "./deploy/secrets/"
"""Where compose.yaml expects what is never in the repository."""
PROGRAM = [
    name for name, service in SERVICES.items() if "Containerfile" in str(service.get("build"))
]
"""Services that are this program in one of its roles."""


def prepare(directory: Path) -> None:
    """Make the passwords and keys."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(
        [ROOT / "deploy" / "prepare.sh", directory],
        check=True,
        capture_output=True,
        env={**os.environ, "PATH": path},
    )


def mounts(service: dict[str, Any]) -> dict[str, str]:
    """Return what is mounted where: source by target, named volumes included."""
    pairs = (volume.split(":") for volume in service.get("volumes", []))
    return {target: source for source, target, *_ in pairs}


def environment(name: str, secrets: Path) -> dict[str, str]:
    """Return the settings of one of our services, with a container's paths made real ones."""
    service = SERVICES[name]
    places = {f"/run/secrets/{secret}": str(secrets / secret) for secret in service["secrets"]}
    for target, source in mounts(service).items():
        if source.startswith(SECRETS):
            places[target] = str(secrets / source.removeprefix(SECRETS))
    found = {}
    for variable, text in service["environment"].items():
        place = next((inside for inside in places if text.startswith(inside)), None)
        found[variable] = places[place] + text.removeprefix(place) if place else text
    return found

"""``admin register``: from an extension's own files to an install."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from contracts.admin_installs import Manifest
from service.cli import files
from service.cli.admin.client import Asking, wire
from service.cli.admin.output import Telling, tell
from service.cli.admin.parameters import made
from service.cli.errors import EXIT_USAGE, CommandError

REGISTER_OPTIONS = made(
    [
        (
            "manifest",
            Annotated[Path, typer.Argument(help="The manifest (JSON), - for standard input.")],
            ...,
        ),
        ("component", Annotated[Path | None, typer.Option(help="The .wasm, to be hashed.")], None),
        (
            "content_hash",
            Annotated[str, typer.Option(help="Its hash, in place of --component.")],
            "",
        ),
        ("grant", Annotated[list[str], typer.Option(help="Capability; repeatable.")], []),
        (
            "grant_declared",
            Annotated[bool, typer.Option(help="Grant all that the manifest declares.")],
            False,
        ),
        ("config", Annotated[list[str], typer.Option(help="KEY=VALUE; repeatable.")], []),
        (
            "config_file",
            Annotated[Path | None, typer.Option(help="The configuration as a JSON object.")],
            None,
        ),
    ]
)


async def register(asking: Asking, given: Mapping[str, Any]) -> None:
    """Register what the manifest describes. Raises CommandError."""
    if not asking.caller.tenant:
        raise CommandError("in which tenant? give --tenant", EXIT_USAGE)
    manifest: Manifest = files.read_json(given["manifest"], Manifest, "a manifest")
    declared = manifest.capabilities if given["grant_declared"] else []
    fields = {
        "tenantId": asking.caller.tenant,
        "manifest": wire(manifest),
        "contentHash": _content_hash(given),
        "grants": [*declared, *(name for name in given["grant"] if name not in declared)],
        "config": _config(given),
    }
    tell(asking, await asking.ask("registerInstall", fields), Telling())


def _content_hash(given: Mapping[str, Any]) -> str:
    if bool(given["content_hash"]) == bool(given["component"]):
        raise CommandError("give either --component or --content-hash", EXIT_USAGE)
    if given["component"]:
        return f"sha256:{hashlib.sha256(files.read(given['component'])).hexdigest()}"
    return str(given["content_hash"])


def _config(given: Mapping[str, Any]) -> dict[str, Any]:
    config: dict[str, Any] = {}
    if given["config_file"]:
        config = files.read_json(given["config_file"], dict[str, Any], "a JSON object")
    for pair in given["config"]:
        name, equals, value = pair.partition("=")
        if not name or not equals:
            raise CommandError(f"--config {pair}: not of the form KEY=VALUE", EXIT_USAGE)
        config[name] = value
    return config

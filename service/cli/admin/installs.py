"""``admin register``: an install made from an extension's own files."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from contracts.admin_installs import Manifest
from service.cli import files
from service.cli.admin.client import AdminClient, to_builtins
from service.cli.admin.output import OutputOptions, print_result
from service.cli.admin.parameters import build_parameters
from service.cli.errors import EXIT_USAGE, CommandError

REGISTER_OPTIONS = build_parameters(
    [
        (
            "manifest",
            Annotated[Path, typer.Argument(help="The manifest (JSON); - for standard input.")],
            ...,
        ),
        (
            "component",
            Annotated[Path | None, typer.Option(help="The .wasm file, to compute its hash.")],
            None,
        ),
        (
            "bundle",
            Annotated[Path | None, typer.Option(help="The .tar.zst file, to compute its hash.")],
            None,
        ),
        (
            "content_hash",
            Annotated[str, typer.Option(help="The component's hash, instead of the file.")],
            "",
        ),
        ("grant", Annotated[list[str], typer.Option(help="Capability; repeatable.")], []),
        (
            "grant_declared",
            Annotated[bool, typer.Option(help="Grant every capability the manifest declares.")],
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


async def register(client: AdminClient, arguments: Mapping[str, Any]) -> None:
    """Register the version that a manifest describes. Raises CommandError."""
    if not client.options.tenant:
        raise CommandError("missing --tenant", EXIT_USAGE)
    manifest: Manifest = files.read_json(arguments["manifest"], Manifest, "a manifest")
    declared = manifest.capabilities if arguments["grant_declared"] else []
    fields = {
        "tenantId": client.options.tenant,
        "manifest": to_builtins(manifest),
        "contentHash": _content_hash(arguments),
        "grants": [*declared, *(name for name in arguments["grant"] if name not in declared)],
        "config": _config(arguments),
    }
    print_result(client, await client.call("registerInstall", fields), OutputOptions())


def _content_hash(arguments: Mapping[str, Any]) -> str:
    given = [name for name in ("content_hash", "component", "bundle") if arguments[name]]
    if len(given) != 1:
        message = "specify one of --component, --bundle and --content-hash"
        raise CommandError(message, EXIT_USAGE)
    if given == ["content_hash"]:
        return str(arguments["content_hash"])
    return f"sha256:{hashlib.sha256(files.read(arguments[given[0]])).hexdigest()}"


def _config(arguments: Mapping[str, Any]) -> dict[str, Any]:
    config: dict[str, Any] = {}
    if arguments["config_file"]:
        config = files.read_json(arguments["config_file"], dict[str, Any], "a JSON object")
    for pair in arguments["config"]:
        name, equals, value = pair.partition("=")
        if not name or not equals:
            raise CommandError(f"--config {pair}: not of the form KEY=VALUE", EXIT_USAGE)
        config[name] = value
    return config

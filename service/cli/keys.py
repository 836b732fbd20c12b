"""``keys``: making and rotating what contexts are signed with."""

import asyncio
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import typer

from contracts.context import (
    LEEWAY_S,
    MAX_LIFETIME_S,
    InvalidKeySet,
    generate_key,
    key_set_document,
    public_jwk,
)
from contracts.subjects import ADMIN_AUDIENCE, HOST_AUDIENCE, RUNNER_AUDIENCE
from service.cli import files, rotation
from service.cli.errors import EXIT_INTERRUPTED, EXIT_USAGE, CommandError
from service.cli.loop import run
from service.cli.output import note, progress, put
from service.cli.rotation import Pair
from service.runtime.key_file import LOOK_EVERY_S

HELP = """Make and rotate the keys that contexts are signed with.

\b
Examples:
  ext-scheduler keys generate --private runner.json --public keys.json
  ext-scheduler keys rotate --private runner.json --public keys.json
"""

keys_program = typer.Typer(help=HELP, no_args_is_help=True, rich_markup_mode=None)

AUDIENCES = {"host": HOST_AUDIENCE, "admin": ADMIN_AUDIENCE, "runner": RUNNER_AUDIENCE}
SPREAD_S = 5
OUTLIVE_S = MAX_LIFETIME_S + LEEWAY_S + 1

GENERATE_EXAMPLES = """\b
Examples:
  ext-scheduler keys generate --private runner.json --public keys.json
  ext-scheduler keys generate --private worker.json --public keys.json --add \\
    --issuer ext-scheduler --audience runner
  ext-scheduler keys generate --private admin.json --public keys.json --add \\
    --issuer operator --audience admin --operator
"""
ROTATE_EXAMPLES = """\b
Examples:
  ext-scheduler keys rotate --private runner.json --public keys.json
  ext-scheduler keys rotate --private runner.json --public keys.json --step add
    (copy keys.json to every verifier, runner.json to every signer, then)
  ext-scheduler keys rotate --private runner.json --public keys.json --step switch
    (copy runner.json; two minutes later)
  ext-scheduler keys rotate --private runner.json --public keys.json --step remove
"""


class Step(StrEnum):
    """A part of a rotation, in order."""

    ADD = "add"
    SWITCH = "switch"
    REMOVE = "remove"


@keys_program.command(epilog=GENERATE_EXAMPLES)
def generate(
    private: Annotated[Path, typer.Option(help="Private key set to write.", metavar="F")],
    public: Annotated[
        Path | None, typer.Option(help="Public key set to write.", metavar="F")
    ] = None,
    issuer: Annotated[str, typer.Option(help="The only issuer the key speaks for.")] = "runner",
    audience: Annotated[list[str], typer.Option(help="host, admin or runner; repeatable.")] = [
        "host"
    ],
    algorithm: Annotated[str, typer.Option(help="EdDSA or HS256.")] = "EdDSA",
    kid: Annotated[str, typer.Option(help="Name of the key; a fresh one by default.")] = "",
    operator: Annotated[bool, typer.Option(help="May act for every tenant.")] = False,
    add: Annotated[bool, typer.Option(help="Add to the public key set that is there.")] = False,
    force: Annotated[bool, typer.Option(help="Replace files that are there.")] = False,
) -> None:
    """Make a key: the private part for one signer, the public one for all verifiers."""
    chosen = [_audience(name) for name in audience]
    name = kid or f"{issuer}-{uuid4().hex[:8]}"
    _refuse_overwriting([private] if add else [private, public], force=force)
    try:
        jwk = generate_key(algorithm, kid=name, issuer=issuer, audiences=chosen, operator=operator)
        shared = public_jwk(jwk) if algorithm != "HS256" else jwk
        others = rotation.members(public) if add and public is not None and public.exists() else []
        document = key_set_document([*others, shared])
        alone = key_set_document([jwk])
    except InvalidKeySet as error:
        raise CommandError(str(error), EXIT_USAGE) from None
    files.write(private, alone, files.PRIVATE)
    if public is not None:
        files.write(public, document, _mode([*others, shared]))
    put(f"made key {name}")


@keys_program.command(epilog=ROTATE_EXAMPLES)
def rotate(
    private: Annotated[Path, typer.Option(help="The signer's private key set.", metavar="F")],
    public: Annotated[Path, typer.Option(help="The verifiers' key set.", metavar="F")],
    step: Annotated[Step | None, typer.Option(help="Only this part, in this order.")] = None,
    kid: Annotated[str, typer.Option(help="Name of the new key; a fresh one by default.")] = "",
    spread: Annotated[
        int, typer.Option(help="Seconds until every verifier has read a new key set.", min=2)
    ] = SPREAD_S,
    outlive: Annotated[
        int, typer.Option(help="Seconds until the last token of the old key is over.", min=2)
    ] = OUTLIVE_S,
) -> None:
    """Replace a key under load: add the new one, sign with it, remove the old one.

    Processes read their key files again within a second; no restart, no refused request. Without
    --step all is done in turn, which suits files that all processes share.
    """
    pair = Pair(private, public)
    steps = list(Step) if step is None else [step]
    try:
        for each in steps:
            put(_do(each, pair, kid))
            if each is not steps[-1]:
                _wait(spread if each is Step.ADD else outlive)
    except KeyboardInterrupt:
        left = steps[steps.index(each) + 1 :] or [Step.REMOVE]
        message = f"interrupted after {each}; nothing is broken, go on with --step {left[0]}"
        raise CommandError(message, EXIT_INTERRUPTED) from None
    except InvalidKeySet as error:
        raise CommandError(str(error), EXIT_USAGE) from None


def _do(step: Step, pair: Pair, kid: str) -> str:
    if step is Step.ADD:
        return f"added key {rotation.add(pair, kid)}; verifiers accept both, the old one signs"
    if step is Step.SWITCH:
        return f"switched to key {rotation.switch(pair)}; verifiers accept both"
    return f"removed key {', '.join(rotation.remove(pair))}"


def _wait(seconds: int) -> None:
    # A file's reader looks at most once a second, so less could be too short.
    pause = max(seconds, 2 * LOOK_EVERY_S)
    note(f"waiting {pause:.0f} s for every process to notice")
    run(_pause(pause))


async def _pause(seconds: float) -> None:
    async with progress(lambda: f"waiting {seconds:.0f} s"):
        await asyncio.sleep(seconds)


def _refuse_overwriting(targets: Sequence[Path | None], *, force: bool) -> None:
    for file in targets:
        if file is not None and file.exists() and not force:
            raise CommandError(f"{file} is there already: --force replaces it", EXIT_USAGE)


def _mode(jwks: Sequence[dict[str, Any]]) -> int:
    return files.PRIVATE if any("k" in jwk for jwk in jwks) else files.PUBLIC


def _audience(name: str) -> str:
    try:
        return AUDIENCES[name]
    except KeyError:
        raise CommandError(
            f"unknown audience {name!r}: host, admin or runner", EXIT_USAGE
        ) from None

"""``keys`` and ``token``: making what requests are signed with."""

import time
from pathlib import Path
from typing import Annotated
from uuid import UUID, uuid4

import msgspec
import typer

from contracts import base64url
from contracts.context import (
    Claims,
    InvalidKeySet,
    KeySet,
    body_sha256,
    generate_key,
    key_set_document,
    parse_key_set,
    public_jwk,
    sign,
    signing_key,
)
from contracts.subjects import ADMIN_AUDIENCE, HOST_AUDIENCE, RUNNER_AUDIENCE
from service.cli.errors import CommandError

keys_program = typer.Typer(
    help="Make the keys that contexts are signed with.", no_args_is_help=True
)
token_program = typer.Typer(help="Make and read signed contexts.", no_args_is_help=True)

AUDIENCES = {"host": HOST_AUDIENCE, "admin": ADMIN_AUDIENCE, "runner": RUNNER_AUDIENCE}


@keys_program.command()
def generate(
    private: Annotated[Path, typer.Option(help="Where to write the private key set.")],
    public: Annotated[Path | None, typer.Option(help="Where to write the public key set.")] = None,
    issuer: Annotated[str, typer.Option(help="The only issuer the key speaks for.")] = "runner",
    audience: Annotated[list[str], typer.Option(help="host, admin or runner; repeatable.")] = [
        "host"
    ],
    algorithm: Annotated[str, typer.Option(help="EdDSA or HS256.")] = "EdDSA",
    kid: Annotated[str, typer.Option(help="Name of the key; a fresh one by default.")] = "",
    operator: Annotated[bool, typer.Option(help="May act for every tenant.")] = False,
) -> None:
    """Make a key. Example: keys generate --private runner.json --public keys.json."""
    chosen = [_audience(name) for name in audience]
    name = kid or f"{issuer}-{uuid4().hex[:8]}"
    try:
        jwk = generate_key(algorithm, kid=name, issuer=issuer, audiences=chosen, operator=operator)
        shared = public_jwk(jwk) if algorithm != "HS256" else jwk
        _write_private(private, key_set_document([jwk]))
        if public is not None:
            public.write_bytes(key_set_document([shared]))
    except InvalidKeySet as error:
        raise CommandError(str(error)) from None
    except OSError as error:
        raise CommandError(f"{error.filename}: {error.strerror}") from None
    typer.echo(f"made key {name}")


@token_program.command()
def mint(
    op: Annotated[str, typer.Argument(help="The operation, such as list.")],
    key: Annotated[Path, typer.Option(help="Private key set.", envvar="EXT_SCHEDULER_MINT_KEY")],
    install: Annotated[UUID | None, typer.Option(help="Install that asks (host).")] = None,
    tenant: Annotated[str, typer.Option(help="Tenant acted for.")] = "",
    body: Annotated[str, typer.Option(help="The exact body of the request.")] = "{}",
    audience: Annotated[str, typer.Option(help="host or admin.")] = "host",
    subject: Annotated[str, typer.Option(help="User who asks (admin).")] = "",
    permission: Annotated[list[str], typer.Option(help="Permission (admin); repeatable.")] = [],
    lifetime: Annotated[int, typer.Option(help="Seconds until it expires, at most 120.")] = 60,
) -> None:
    """Print a signed context for one request."""
    chosen = _audience(audience)
    now = int(time.time())
    try:
        signer = signing_key(_read_key_set(key), chosen)
    except InvalidKeySet as error:
        raise CommandError(f"{key}: {error}") from None
    claims = Claims(
        iss=signer.issuer,
        aud=chosen,
        iat=now,
        exp=now + lifetime,
        jti=uuid4(),
        op=op,
        body_sha256=body_sha256(body.encode()),
        install_id=install,
        tenant_id=tenant or None,
        sub=subject or None,
        permissions=tuple(permission) or None,
    )
    typer.echo(sign(claims, signer))


@token_program.command()
def inspect(token: Annotated[str, typer.Argument(help="A signed context.")]) -> None:
    """Show what a token says, without judging whether it is true."""
    try:
        header, payload, _ = token.split(".")
        for segment in (header, payload):
            typer.echo(msgspec.json.format(base64url.decode(segment.encode()), indent=2).decode())
    except (ValueError, msgspec.MsgspecError):
        raise CommandError("not a token in compact form") from None


def _audience(name: str) -> str:
    try:
        return AUDIENCES[name]
    except KeyError:
        raise CommandError(f"unknown audience {name!r}: host, admin or runner") from None


def _read_key_set(file: Path) -> KeySet:
    try:
        return parse_key_set(file.read_bytes())
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}") from None


def _write_private(file: Path, document: bytes) -> None:
    file.touch(mode=0o600)
    file.write_bytes(document)

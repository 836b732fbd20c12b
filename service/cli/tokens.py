"""``token``: mints signed contexts for the ``nats`` command line, and inspects them."""

import difflib
import os
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID, uuid4

import msgspec
import typer

from contracts import base64url
from contracts.admin import ADMIN_OPS
from contracts.context import (
    ALL_TENANTS,
    DEFAULT_LIFETIME_S,
    LEEWAY_S,
    MAX_LIFETIME_S,
    Claims,
    ContextRefused,
    InvalidKeySet,
    Key,
    Reason,
    body_sha256,
    parse_key_set,
    sign,
    signing_key,
    verify,
)
from contracts.schedules import HOST_OPS
from contracts.subjects import ADMIN_AUDIENCE, HOST_AUDIENCE
from service.cli import files
from service.cli.errors import EXIT_NOT_ALLOWED, EXIT_USAGE, CommandError
from service.cli.lazy_group import WholeLinesGroup
from service.cli.login_name import login_name
from service.cli.output import print_line
from service.runtime import settings
from service.runtime.settings import Settings

HELP = """Mint and inspect signed contexts.

\b
Examples:
  ext-scheduler token mint list --key runner.json --install INSTALL
  ext-scheduler token inspect TOKEN --key-set keys.json
"""

token_program = typer.Typer(
    cls=WholeLinesGroup, help=HELP, no_args_is_help=True, rich_markup_mode=None
)


class TokenAudience(StrEnum):
    """The operations that a token is for."""

    HOST = "host"
    ADMIN = "admin"


AUDIENCES = {TokenAudience.HOST: HOST_AUDIENCE, TokenAudience.ADMIN: ADMIN_AUDIENCE}
OPERATIONS = {TokenAudience.HOST: set(HOST_OPS), TokenAudience.ADMIN: set(ADMIN_OPS)}

MINT_EXAMPLES = """\b
Examples:
  nats req ext.scheduler.list '{}' --no-templates -H Content-Type:application/json \\
    -H "Ext-Context:$(ext-scheduler token mint list --key runner.json --install INSTALL)"
  BODY='{"scheduleId":"SCHEDULE"}'
  nats req ext.scheduler.admin.runNow "$BODY" --no-templates -H Content-Type:application/json \\
    -H "Ext-Context:$(ext-scheduler token mint runNow --audience admin --key admin.json \\
        --tenant acme --body "$BODY")"
"""
INSPECT_EXAMPLES = """\b
Examples:
  ext-scheduler token inspect "$TOKEN"
  ext-scheduler token inspect - --key-set keys.json --body '{}' < token.txt
"""


@token_program.command(epilog=MINT_EXAMPLES)
def mint(
    op: Annotated[str, typer.Argument(help="The operation, such as list.", metavar="OPERATION")],
    key: Annotated[
        Path | None,
        typer.Option(help="Private key set; by default from the settings.", metavar="F"),
    ] = None,
    install: Annotated[UUID | None, typer.Option(help="Install to act as (host).")] = None,
    tenant: Annotated[str, typer.Option(help="Tenant to act for; '*' for all (admin).")] = "",
    body: Annotated[str, typer.Option(help="The exact body of the request, or @FILE.")] = "{}",
    audience: Annotated[
        TokenAudience, typer.Option(help="The operations that the request is for.")
    ] = TokenAudience.HOST,
    subject: Annotated[
        str, typer.Option("--as", "--subject", help="Your name in the audit log (admin).")
    ] = "",
    permission: Annotated[
        list[str], typer.Option(help="Permission to claim (admin); repeatable.")
    ] = [],
    lifetime: Annotated[
        int, typer.Option(help="Seconds until it expires.", min=1, max=MAX_LIFETIME_S)
    ] = DEFAULT_LIFETIME_S,
    request_id: Annotated[UUID | None, typer.Option(help="Id of a request to repeat.")] = None,
) -> None:
    """Print a signed context, valid for one operation and one exact body."""
    _check_operation(op, audience)
    loaded = settings.load(os.environ)
    file = key or Path(_key_setting(loaded, audience))
    signer = _signer(file, AUDIENCES[audience])
    raw = files.text_or_file(body)
    now = int(time.time())
    claims = Claims(
        iss=signer.issuer,
        aud=AUDIENCES[audience],
        iat=now,
        exp=now + lifetime,
        jti=request_id or uuid4(),
        op=op,
        body_sha256=body_sha256(raw if isinstance(raw, bytes) else raw.encode()),
        install_id=_install(install, audience),
        tenant_id=_tenant(tenant, audience, loaded, signer),
        sub=(subject or loaded.admin_subject or login_name())
        if audience is TokenAudience.ADMIN
        else None,
        permissions=tuple(permission or loaded.admin_permissions)
        if audience is TokenAudience.ADMIN
        else None,
    )
    print_line(sign(claims, signer))


@token_program.command(epilog=INSPECT_EXAMPLES)
def inspect(
    token: Annotated[str, typer.Argument(help="A signed context; - for standard input.")],
    key_set: Annotated[
        Path | None, typer.Option(help="Also verify it with these keys.", metavar="F")
    ] = None,
    body: Annotated[str | None, typer.Option(help="Also verify that it is for this body.")] = None,
) -> None:
    """Print a token's header and claims; with a key set also verify it."""
    if Path(token) == files.STANDARD_INPUT:
        token = files.read(files.STANDARD_INPUT).decode(errors="replace")
    text = token.strip()
    claims = _print_claims(text)
    now = time.time()
    issued, expires = _format_time(claims.get("iat")), _format_time(claims.get("exp"))
    print_line(f"token is valid from {issued} to {expires}")
    print_line(_describe_expiry(claims.get("exp"), now))
    if key_set is not None:
        _verify(text, claims, key_set, body, now)


def _print_claims(token: str) -> dict[str, Any]:
    """Print the header and the claims, and return the claims. Raises CommandError."""
    try:
        header, payload, _ = token.split(".")
        segments = [base64url.decode(segment.encode()) for segment in (header, payload)]
        claims = msgspec.json.decode(segments[1], type=dict[str, Any])
        for segment in segments:
            print_line(msgspec.json.format(segment, indent=2).decode())
    except (ValueError, msgspec.MsgspecError):
        raise CommandError("not a token (JWS compact serialization)", EXIT_USAGE) from None
    return claims


def _verify(token: str, claims: dict[str, Any], file: Path, body: str | None, now: float) -> None:
    raw = b"" if body is None else files.text_or_file(body)
    try:
        keys = parse_key_set(files.read(file))
        verify(
            token,
            keys,
            audience=str(claims.get("aud")),
            op=str(claims.get("op")),
            body=raw if isinstance(raw, bytes) else raw.encode(),
            now=now,
        )
    except InvalidKeySet as error:
        raise CommandError(f"{file}: {error}", EXIT_USAGE) from None
    except ContextRefused as refused:
        # The body is verified last, so the rest is valid.
        if refused.reason is not Reason.BODY or body is not None:
            raise CommandError(f"token is invalid: {refused.reason}", EXIT_NOT_ALLOWED) from None
        print_line(
            "signature, key, issuer and audience are valid; the body was not checked (no --body)"
        )
        return
    print_line("token is valid")


def _check_operation(op: str, audience: TokenAudience) -> None:
    known = OPERATIONS[audience]
    if op in known:
        return
    others = [other for other in TokenAudience if op in OPERATIONS[other]]
    similar = difflib.get_close_matches(op, known, n=1)
    hint = f": use --audience {others[0]}" if others else ""
    hint = hint or (f": did you mean {similar[0]}?" if similar else f": {', '.join(sorted(known))}")
    raise CommandError(f"unknown {audience} operation {op!r}{hint}", EXIT_USAGE)


def _key_setting(loaded: Settings, audience: TokenAudience) -> str:
    file = loaded.admin_key_file if audience is TokenAudience.ADMIN else loaded.host_key_file
    if not file:
        raise CommandError("missing --key (or EXT_SCHEDULER_HOST_KEY_FILE)", EXIT_USAGE)
    return file


def _signer(file: Path, audience: str) -> Key:
    try:
        return signing_key(parse_key_set(files.read(file)), audience)
    except InvalidKeySet as error:
        raise CommandError(f"{file}: {error}", EXIT_USAGE) from None


def _install(install: UUID | None, audience: TokenAudience) -> UUID | None:
    if audience is TokenAudience.HOST and install is None:
        raise CommandError("missing --install", EXIT_USAGE)
    return install


def _tenant(tenant: str, audience: TokenAudience, loaded: Settings, signer: Key) -> str | None:
    if audience is TokenAudience.HOST:
        return tenant or None
    effective = tenant or loaded.admin_tenant or (ALL_TENANTS if signer.operator else "")
    if not effective:
        raise CommandError("missing --tenant", EXIT_USAGE)
    return effective


def _format_time(seconds: object) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(float(str(seconds))))
    except (ValueError, OverflowError, OSError):
        return "?"


def _describe_expiry(expires: object, now: float) -> str:
    if not isinstance(expires, int | float):
        return "token has no expiry"
    left = expires - now
    if left >= 0:
        return f"token expires in {left:.0f} s"
    leeway = "" if left < -LEEWAY_S else f" (within the leeway of {LEEWAY_S} s)"
    return f"token expired {-left:.0f} s ago{leeway}"

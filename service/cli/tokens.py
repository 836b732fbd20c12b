"""``token``: signed contexts by hand, for the ``nats`` command line and for looking into one."""

import difflib
import getpass
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
from service.cli.output import put
from service.runtime import settings
from service.runtime.settings import Settings

HELP = """Make and read signed contexts.

\b
Examples:
  ext-scheduler token mint list --key runner.json --install INSTALL
  ext-scheduler token inspect TOKEN --key-set keys.json
"""

token_program = typer.Typer(help=HELP, no_args_is_help=True, rich_markup_mode=None)


class Kind(StrEnum):
    """Whom a token is for."""

    HOST = "host"
    ADMIN = "admin"


AUDIENCES = {Kind.HOST: HOST_AUDIENCE, Kind.ADMIN: ADMIN_AUDIENCE}
OPERATIONS = {Kind.HOST: set(HOST_OPS), Kind.ADMIN: set(ADMIN_OPS)}

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
        Path | None, typer.Option(help="Private key set (or the setting for it).", metavar="F")
    ] = None,
    install: Annotated[UUID | None, typer.Option(help="Install that asks (host).")] = None,
    tenant: Annotated[str, typer.Option(help="Tenant acted for; '*' for all (admin).")] = "",
    body: Annotated[str, typer.Option(help="The exact body of the request, or @FILE.")] = "{}",
    audience: Annotated[Kind, typer.Option(help="Whom the request is for.")] = Kind.HOST,
    subject: Annotated[str, typer.Option("--as", "--subject", help="Who asks (admin).")] = "",
    permission: Annotated[list[str], typer.Option(help="Permission (admin); repeatable.")] = [],
    lifetime: Annotated[
        int, typer.Option(help="Seconds until it expires.", min=1, max=MAX_LIFETIME_S)
    ] = DEFAULT_LIFETIME_S,
    request_id: Annotated[UUID | None, typer.Option(help="Id of a request to repeat.")] = None,
) -> None:
    """Print a signed context for one request: its operation and its exact body."""
    _check_operation(op, audience)
    chosen = settings.load(os.environ)
    file = key or Path(_key_setting(chosen, audience))
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
        tenant_id=_tenant(tenant, audience, chosen, signer),
        sub=(subject or chosen.admin_subject or getpass.getuser())
        if audience is Kind.ADMIN
        else None,
        permissions=tuple(permission or chosen.admin_permissions)
        if audience is Kind.ADMIN
        else None,
    )
    put(sign(claims, signer))


@token_program.command(epilog=INSPECT_EXAMPLES)
def inspect(
    token: Annotated[str, typer.Argument(help="A signed context; - for standard input.")],
    key_set: Annotated[
        Path | None, typer.Option(help="Also check it with these keys.", metavar="F")
    ] = None,
    body: Annotated[str | None, typer.Option(help="Also check that it is for this body.")] = None,
) -> None:
    """Show what a token says; with a key set also whether it would be accepted now."""
    if Path(token) == files.STANDARD_INPUT:
        token = files.read(files.STANDARD_INPUT).decode(errors="replace")
    text = token.strip()
    claims = _read(text)
    now = time.time()
    put(f"it is valid from {_clock(claims.get('iat'))} to {_clock(claims.get('exp'))}")
    put(_remaining(claims.get("exp"), now))
    if key_set is not None:
        _judge(text, claims, key_set, body, now)


def _read(token: str) -> dict[str, Any]:
    """Show the header and the claims, and return these. Raises CommandError."""
    try:
        header, payload, _ = token.split(".")
        shown = [base64url.decode(segment.encode()) for segment in (header, payload)]
        claims = msgspec.json.decode(shown[1], type=dict[str, Any])
        for segment in shown:
            put(msgspec.json.format(segment, indent=2).decode())
    except (ValueError, msgspec.MsgspecError):
        raise CommandError("not a token in compact form", EXIT_USAGE) from None
    return claims


def _judge(token: str, claims: dict[str, Any], file: Path, body: str | None, now: float) -> None:
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
        # The body is looked at after signature and speaker, so these are right.
        if refused.reason is not Reason.BODY or body is not None:
            raise CommandError(f"it is refused: {refused.reason}", EXIT_NOT_ALLOWED) from None
        put("signature, key, issuer and audience are right; its body was not given")
        return
    put("it would be accepted")


def _check_operation(op: str, audience: Kind) -> None:
    known = OPERATIONS[audience]
    if op in known:
        return
    others = [kind for kind in Kind if op in OPERATIONS[kind]]
    near = difflib.get_close_matches(op, known, n=1)
    hint = f": it is one of --audience {others[0]}" if others else ""
    hint = hint or (f": did you mean {near[0]}?" if near else f": {', '.join(sorted(known))}")
    raise CommandError(f"no {audience} operation {op!r}{hint}", EXIT_USAGE)


def _key_setting(chosen: Settings, audience: Kind) -> str:
    file = chosen.admin_key_file if audience is Kind.ADMIN else chosen.host_key_file
    if not file:
        raise CommandError("which key? give --key or EXT_SCHEDULER_HOST_KEY_FILE", EXIT_USAGE)
    return file


def _signer(file: Path, audience: str) -> Key:
    try:
        return signing_key(parse_key_set(files.read(file)), audience)
    except InvalidKeySet as error:
        raise CommandError(f"{file}: {error}", EXIT_USAGE) from None


def _install(install: UUID | None, audience: Kind) -> UUID | None:
    if audience is Kind.HOST and install is None:
        raise CommandError("which install asks? give --install", EXIT_USAGE)
    return install


def _tenant(tenant: str, audience: Kind, chosen: Settings, signer: Key) -> str | None:
    if audience is Kind.HOST:
        return tenant or None
    known = tenant or chosen.admin_tenant or (ALL_TENANTS if signer.operator else "")
    if not known:
        raise CommandError("which tenant? give --tenant", EXIT_USAGE)
    return known


def _clock(seconds: object) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(float(str(seconds))))
    except (ValueError, OverflowError, OSError):
        return "?"


def _remaining(expires: object, now: float) -> str:
    if not isinstance(expires, int | float):
        return "it says no expiry"
    left = expires - now
    if left >= 0:
        return f"it expires in {left:.0f} s"
    leeway = "" if left < -LEEWAY_S else f" (within the leeway of {LEEWAY_S} s)"
    return f"it expired {-left:.0f} s ago{leeway}"

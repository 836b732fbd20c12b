"""``console``: serves the web pages, and prints one-time links to sign in with."""

import os
import time
from pathlib import Path
from typing import Annotated

import typer

from service.cli.errors import EXIT_USAGE, CommandError
from service.cli.lazy_group import WholeLinesGroup
from service.cli.output import print_line
from service.runtime import settings
from service.runtime.settings import PREFIX, Settings

console_program = typer.Typer(
    cls=WholeLinesGroup,
    invoke_without_command=True,
    rich_markup_mode=None,
    help="""Serve web pages for operators and tenants, until SIGTERM.

\b
Examples:
  ext-scheduler console                            on http://127.0.0.1:9466
  ext-scheduler console link                       a link to sign in with, good for a minute
  ext-scheduler console link --tenant acme --permission extension:read
""",
)


@console_program.callback()
def serve(context: typer.Context) -> None:
    """Serve the pages where no other command is named."""
    if context.invoked_subcommand is not None:
        return
    # Imported here, with the libraries that it needs: not for the help.
    import asyncio  # noqa: PLC0415 - see above

    from service.runtime.logs import configure  # noqa: PLC0415 - see above

    try:
        from service.cli.console_process import run_console  # noqa: PLC0415 - see above
    except ModuleNotFoundError as error:
        message = f"the console needs {error.name}: pip install 'ext-scheduler[console]'"
        raise CommandError(message) from None
    loaded = settings.load(os.environ)
    configure(loaded.log_format, loaded.log_level)
    asyncio.run(run_console(loaded))


LINK_EXAMPLES = """\b
Examples:
  ext-scheduler console link
  ext-scheduler console link --tenant acme --as ada --permission extension:read
  ext-scheduler console link --key admin.json --url https://scheduler.example.com
"""


@console_program.command(epilog=LINK_EXAMPLES)
def link(
    key: Annotated[
        Path | None,
        typer.Option(help="Private key set; by default from the settings.", metavar="F"),
    ] = None,
    tenant: Annotated[str, typer.Option(help="Tenant to see; all with an operator's key.")] = "",
    subject: Annotated[
        str, typer.Option("--as", "--subject", help="Your name in the audit log.")
    ] = "",
    permission: Annotated[
        list[str],
        typer.Option(help="extension:read, extension:write, extension:payload; repeatable."),
    ] = [],
    url: Annotated[str, typer.Option(help="Address of the console, as browsers reach it.")] = "",
) -> None:
    """Print a link that signs one person in, once, within a minute."""
    from console.links import sign_link  # noqa: PLC0415 - not for the help
    from console.people import PERMISSIONS, Person, normalised  # noqa: PLC0415 - likewise
    from service.cli.admin.client import load_admin_key  # noqa: PLC0415 - likewise
    from service.cli.login_name import login_name  # noqa: PLC0415 - likewise

    loaded = settings.load(os.environ)
    signer = load_admin_key(key or Path(loaded.admin_key_file))
    effective = tenant or loaded.admin_tenant or ("*" if signer.operator else "")
    if not effective:
        raise CommandError("missing --tenant: only an operator's key may omit it", EXIT_USAGE)
    if unknown := set(permission) - PERMISSIONS:
        known = ", ".join(sorted(PERMISSIONS))
        raise CommandError(f"no permission {min(unknown)}: use {known}", EXIT_USAGE)
    person = Person(
        name=subject or loaded.admin_subject or login_name(),
        tenant=effective,
        permissions=normalised(permission or loaded.admin_permissions),
    )
    print_line(sign_link(url or address(loaded), person, signer, time.time()))


def address(loaded: Settings) -> str:
    """Return where browsers reach the console, by the settings."""
    if loaded.console_url:
        return loaded.console_url
    host = loaded.console_host
    shown = f"[{host}]" if ":" in host else host
    if not loaded.console_port:
        raise CommandError(f"missing --url (or {PREFIX}CONSOLE_URL): any port is free", EXIT_USAGE)
    return f"http://{shown}:{loaded.console_port}"

"""``asyncapi``: the contract in a machine-readable format, for writing clients."""

from enum import StrEnum
from importlib.metadata import version
from typing import Annotated

import msgspec
import typer

from contracts.publish import typescript, wit
from contracts.publish.asyncapi import document

DISTRIBUTION = "ext-scheduler"


class ContractFormat(StrEnum):
    """A format that the contract is published in."""

    ASYNCAPI = "asyncapi"
    TYPESCRIPT = "typescript"
    WIT = "wit"


def asyncapi(
    format_: Annotated[
        ContractFormat, typer.Option("--as", help="Output format.")
    ] = ContractFormat.ASYNCAPI,
) -> None:
    """Print the contract as an AsyncAPI 3 document, TypeScript declarations or WIT.

    \b
    Examples:
      ext-scheduler asyncapi > asyncapi.json
      ext-scheduler asyncapi --as typescript > ext-scheduler.d.ts
    """
    typer.echo(render(format_), nl=False)


def render(format_: ContractFormat) -> str:
    """Return the contract in one format, ending with a newline."""
    if format_ is ContractFormat.TYPESCRIPT:
        return typescript.declarations()
    if format_ is ContractFormat.WIT:
        return wit.scheduler_package()
    asyncapi_document = document(version(DISTRIBUTION))
    return msgspec.json.format(msgspec.json.encode(asyncapi_document), indent=1).decode() + "\n"

"""``asyncapi``: the contract, for programs and people who write clients."""

from enum import StrEnum
from importlib.metadata import version
from typing import Annotated

import msgspec
import typer

from contracts.publish import typescript, wit
from contracts.publish.asyncapi import document

DISTRIBUTION = "ext-scheduler"


class Form(StrEnum):
    """What the contract is written as."""

    ASYNCAPI = "asyncapi"
    TYPESCRIPT = "typescript"
    WIT = "wit"


def asyncapi(
    form: Annotated[Form, typer.Option("--as", help="What to write it as.")] = Form.ASYNCAPI,
) -> None:
    """Print the contract as an AsyncAPI 3 document, TypeScript declarations or WIT.

    \b
    Examples:
      ext-scheduler asyncapi > asyncapi.json
      ext-scheduler asyncapi --as typescript > ext-scheduler.d.ts
    """
    typer.echo(written(form), nl=False)


def written(form: Form) -> str:
    """Write the contract in one form, with a line break at the end."""
    if form is Form.TYPESCRIPT:
        return typescript.declarations()
    if form is Form.WIT:
        return wit.scheduler_package()
    built = document(version(DISTRIBUTION))
    return msgspec.json.format(msgspec.json.encode(built), indent=1).decode() + "\n"

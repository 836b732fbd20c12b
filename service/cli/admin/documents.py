"""``admin export`` and ``admin import``: a tenant's schedules as a file.

A file holds one document, or a list of them where the tenant exceeds what one import accepts.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from msgspec import structs

from contracts.admin_schedules import ImportTenantOutput, TenantDocument
from service.cli import files
from service.cli.admin.client import AdminClient, to_builtins
from service.cli.admin.output import OutputOptions, print_result
from service.cli.admin.parameters import build_parameters
from service.cli.errors import EXIT_USAGE, CommandError
from service.cli.output import json_text, print_line, print_notice

EXPORT_OPTIONS = build_parameters(
    [("out", Annotated[Path | None, typer.Option(help="File; standard output by default.")], None)]
)
IMPORT_OPTIONS = build_parameters(
    [
        (
            "file",
            Annotated[Path, typer.Argument(help="Exported file; - for standard input.")],
            ...,
        ),
        (
            "dry_run",
            Annotated[bool, typer.Option(help="Report the result without making changes.")],
            False,
        ),
    ]
)
DOCUMENT_FORMAT = 1


async def export(client: AdminClient, arguments: Mapping[str, Any]) -> None:
    """Write the tenant's documents to a file or standard output. Raises CommandError."""
    documents: list[TenantDocument] = []
    cursor: dict[str, str] = {}
    while True:
        fields = {"tenantId": arguments["tenant_id"], **cursor}
        activity = f"exported {_count_schedules(documents)} schedules so far"
        page = await client.call("exportTenant", fields, activity)
        documents.append(page.document)
        for omission in page.omitted:
            print_notice(f"omitted: {omission.subject}: {omission.message}")
        if page.next_cursor is None:
            break
        cursor = {"cursor": page.next_cursor}
    content = documents[0] if len(documents) == 1 else documents
    text = json_text(content)
    if arguments["out"] is None:
        print_line(text)
        return
    files.write(arguments["out"], f"{text}\n".encode(), files.PUBLIC)
    print_notice(f"schedules written to {arguments['out']}: {_count_schedules(documents)}")


async def import_(client: AdminClient, arguments: Mapping[str, Any]) -> None:
    """Import the documents of a file, after a dry run of all of them. Raises CommandError."""
    documents = _read_documents(arguments["file"])
    if not client.options.tenant:
        raise CommandError("missing --tenant", EXIT_USAGE)
    if len(documents) > 1 or arguments["dry_run"]:
        result = await _import_documents(client, documents, dry_run=True)
        if arguments["dry_run"] or not result.success:
            print_result(client, result, OutputOptions(dry_run=True))
            return
    result = await _import_documents(client, documents, dry_run=False)
    print_result(client, result, OutputOptions())


async def _import_documents(
    client: AdminClient, documents: Sequence[TenantDocument], *, dry_run: bool
) -> ImportTenantOutput:
    """Import documents in order; stop at the first that is rejected, and return its result."""
    created = 0
    for number, document in enumerate(documents, 1):
        fields = {
            "tenantId": client.options.tenant,
            "document": to_builtins(document),
            **({"dryRun": True} if dry_run else {}),
        }
        position = f"document {number} of {len(documents)}"
        result: ImportTenantOutput = await client.call("importTenant", fields, position)
        if not result.success:
            if len(documents) > 1:
                print_notice(f"{position} was rejected, after {created} schedules of earlier ones")
            return result
        created += result.created or 0
    return structs.replace(result, created=created)


def _read_documents(file: Path) -> list[TenantDocument]:
    accepted = TenantDocument | list[TenantDocument]
    content: Any = files.read_json(file, accepted, "an exported document")
    documents = content if isinstance(content, list) else [content]
    if not documents or any(document.format != DOCUMENT_FORMAT for document in documents):
        raise CommandError(f"{file}: not a format supported by this release", EXIT_USAGE)
    return documents


def _count_schedules(documents: Sequence[TenantDocument]) -> int:
    return sum(
        len(extension.schedules) for document in documents for extension in document.extensions
    )

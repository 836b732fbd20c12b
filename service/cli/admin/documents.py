"""``admin export`` and ``admin import``: a tenant's schedules as a file.

A file holds one document, or a list of them where the tenant has more than one import may carry.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from msgspec import structs

from contracts.admin_schedules import ImportTenantOutput, TenantDocument
from service.cli import files
from service.cli.admin.client import Asking, wire
from service.cli.admin.output import Telling, tell
from service.cli.admin.parameters import made
from service.cli.errors import EXIT_USAGE, CommandError
from service.cli.output import note, put

EXPORT_OPTIONS = made(
    [("out", Annotated[Path | None, typer.Option(help="File; standard output by default.")], None)]
)
IMPORT_OPTIONS = made(
    [
        ("file", Annotated[Path, typer.Argument(help="From `export`; - for standard input.")], ...),
        (
            "dry_run",
            Annotated[bool, typer.Option(help="Say whether it would go, and change nothing.")],
            False,
        ),
    ]
)
FORMAT = 1


async def export(asking: Asking, given: Mapping[str, Any]) -> None:
    """Write the tenant's documents to a file or standard output. Raises CommandError."""
    documents: list[TenantDocument] = []
    cursor: dict[str, str] = {}
    while True:
        fields = {"tenantId": given["tenant_id"], **cursor}
        page = await asking.ask("exportTenant", fields, f"{_count(documents)} schedules so far")
        documents.append(page.document)
        for problem in page.omitted:
            note(f"left out: {problem.subject}: {problem.message}")
        if page.next_cursor is None:
            break
        cursor = {"cursor": page.next_cursor}
    content = documents[0] if len(documents) == 1 else documents
    text = msgspec.json.format(msgspec.json.encode(content), indent=2)
    if given["out"] is None:
        put(text.decode())
        return
    files.write(given["out"], text + b"\n", files.PUBLIC)
    note(f"schedules written to {given['out']}: {_count(documents)}")


async def import_(asking: Asking, given: Mapping[str, Any]) -> None:
    """Import the documents of a file, after all of them were tried. Raises CommandError."""
    documents = _documents(given["file"])
    if not asking.caller.tenant:
        raise CommandError("into which tenant? give --tenant", EXIT_USAGE)
    if len(documents) > 1 or given["dry_run"]:
        outcome = await _all(asking, documents, dry_run=True)
        if given["dry_run"] or not outcome.success:
            tell(asking, outcome, Telling(dry_run=True))
            return
    tell(asking, await _all(asking, documents, dry_run=False), Telling())


async def _all(
    asking: Asking, documents: Sequence[TenantDocument], *, dry_run: bool
) -> ImportTenantOutput:
    """Import, or try, one document after the other; stop at the first that is refused."""
    created = 0
    for number, document in enumerate(documents, 1):
        fields = {
            "tenantId": asking.caller.tenant,
            "document": wire(document),
            **({"dryRun": True} if dry_run else {}),
        }
        doing = f"document {number} of {len(documents)}"
        outcome: ImportTenantOutput = await asking.ask("importTenant", fields, doing)
        if not outcome.success:
            if len(documents) > 1:
                note(f"{doing} is refused; {created} schedules of those before it")
            return outcome
        created += outcome.created or 0
    return structs.replace(outcome, created=created)


def _documents(file: Path) -> list[TenantDocument]:
    shape = TenantDocument | list[TenantDocument]
    content: Any = files.read_json(file, shape, "an exported document")
    documents = content if isinstance(content, list) else [content]
    if not documents or any(document.format != FORMAT for document in documents):
        raise CommandError(f"{file}: not of a format that this release knows", EXIT_USAGE)
    return documents


def _count(documents: Sequence[TenantDocument]) -> int:
    return sum(len(part.schedules) for document in documents for part in document.extensions)

"""``admin why``: the findings of ``explain``, as a person reads them."""

from collections.abc import Mapping
from typing import Any

from contracts.admin_explain import ExplainInput, Finding
from service.cli.admin.client import AdminClient
from service.cli.admin.parameters import read_fields
from service.cli.output import cell, print_json, print_line
from service.cli.time_display import TimeDisplay


async def why(client: AdminClient, arguments: Mapping[str, Any]) -> None:
    """Print what holds a schedule, and what became of the slot asked about."""
    answer = await client.call("explain", read_fields(ExplainInput, arguments))
    if client.options.as_json:
        print_json(answer)
        return
    print_line(f"{cell(answer.name)}  {cell(answer.words or answer.cron)}")
    print_line(f"schedule {answer.schedule_id} of tenant {cell(answer.tenant_id)}")
    about_slot = False
    for finding in answer.findings:
        if finding.code.startswith("slot_") and not about_slot:
            about_slot = True
            print_line()
            print_line(f"The slot of {client.options.times.full(answer.slot or '')}:")
        _print_finding(finding, client.options.times)


def _print_finding(finding: Finding, times: TimeDisplay) -> None:
    line = f"{'!' if finding.holds else '-'} {cell(finding.text)} [{finding.code}]"
    print_line(line, style="red" if finding.holds else "")
    if finding.since is not None:
        by = "" if finding.by is None else f" by {cell(finding.by)}"
        print_line(f"    since {times.full(finding.since)}{by}")
    if finding.run_id is not None:
        print_line(f"    run {finding.run_id}")
    if finding.advice is not None:
        print_line(f"    → {finding.advice}")

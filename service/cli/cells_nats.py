"""The NATS accounts of cells and of their tenants' Runners, derived from ``nats.conf``.

Every cell gets the accounts SCHEDULER and OPERATORS of its own; every tenant's Runners the account
RUNNERS of their own, which imports the service of their cell. So an unmodified Runner asks
``ext.scheduler.create`` as ever, and its cell answers. A cell calls it as a Runner pool.
"""

import re
from collections.abc import Mapping

from contracts.subjects import EXECUTE_SUBJECT, execute_subject
from service.cli.cells_file import CellsFile
from service.cli.errors import EXIT_USAGE, CommandError

HEAD = "# Written by `ext-scheduler cells` from nats.conf and cells.toml: change those.\n"
_ACCOUNT = re.compile(r"(?ms)^  (?P<name>[A-Z]+) \{\n.*?^  \}\n")
_EXECUTE_IMPORTS = re.compile(
    r'(?m)^ *\{ service: \{ account: RUNNERS, subject: "ext\.runner\.execute[.*]*" \}.*\n'
)
_HOST_IMPORTS = re.compile(
    r'(?m)^ *\{ service: \{ account: SCHEDULER, subject: "ext\.scheduler\.\*" \}.*\n'
)
_LOGIN = re.compile(r"user: (?P<user>\w+), password: \$EXT_SCHEDULER_NATS_(?P<part>\w+)_PASSWORD")
NEEDED = {"SCHEDULER", "RUNNERS", "OPERATORS"}


def derive(base: str, cells: CellsFile) -> str:
    """Return the configuration of the servers. Raises CommandError."""
    blocks = {match["name"]: match for match in _ACCOUNT.finditer(base)}
    if not blocks.keys() >= NEEDED:
        missing = ", ".join(sorted(NEEDED - blocks.keys()))
        raise CommandError(f"{cells.nats_base}: lacks the accounts {missing}", EXIT_USAGE)
    texts = {name: match[0] for name, match in blocks.items()}
    accounts = [_cell(texts, cells, name) for name in cells.cells]
    accounts += [_runners(texts["RUNNERS"], cells, tenant_id) for tenant_id in cells.tenants]
    accounts += [text for name, text in texts.items() if name not in NEEDED]
    begin = min(match.start() for match in blocks.values())
    end = max(match.end() for match in blocks.values())
    return HEAD + base[:begin] + "\n".join(accounts) + base[end:]


def _cell(texts: Mapping[str, str], cells: CellsFile, name: str) -> str:
    account, operators = f"CELL_{name}", f"OPERATORS_{name}"
    tenants = [tenant for tenant in cells.tenants.values() if tenant.home == name]
    # One that moves is not asked any more, but what it was called for may still be answered.
    askers = [f"RUNNERS_{tenant.runners}" for tenant in tenants if not tenant.moving_to]
    imports = "".join(
        f'      {{ service: {{ account: RUNNERS_{tenant.runners}, subject: "{EXECUTE_SUBJECT}" }},'
        f' to: "{execute_subject(tenant.runners)}", share: true }}\n'
        for tenant in tenants
    )
    scheduler = _EXECUTE_IMPORTS.sub("", texts["SCHEDULER"])
    scheduler = scheduler.replace("    imports: [\n", f"    imports: [\n{imports}", 1)
    both = scheduler + "\n" + texts["OPERATORS"]
    both = both.replace("[RUNNERS, OPERATORS]", f"[{', '.join([*askers, operators])}]")
    both = both.replace("[OPERATORS]", f"[{operators}]")
    both = both.replace("  SCHEDULER {", f"  {account} {{", 1)
    both = both.replace("  OPERATORS {", f"  {operators} {{", 1)
    both = both.replace("account: SCHEDULER", f"account: {account}")
    return _named(both, name)


def _runners(text: str, cells: CellsFile, tenant_id: str) -> str:
    tenant = cells.tenants[tenant_id]
    callers = ", ".join(f"CELL_{name}" for name in cells.cells)
    if tenant.moving_to:
        text = _HOST_IMPORTS.sub("", text)
    text = text.replace("  RUNNERS {", f"  RUNNERS_{tenant.runners} {{", 1)
    text = text.replace("[SCHEDULER]", f"[{callers}]")
    text = text.replace("account: SCHEDULER", f"account: CELL_{tenant.home}")
    return _named(text, tenant.runners)


def _named(text: str, name: str) -> str:
    variable = name.upper().replace("-", "_")
    return _LOGIN.sub(
        lambda login: (
            f"user: {login['user']}_{name},"
            f" password: $EXT_SCHEDULER_NATS_{login['part']}_{variable}_PASSWORD"
        ),
        text,
    )

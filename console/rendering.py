"""The templates: everything escaped, everything visible, undefined names an error."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from console.static_files import asset
from console.text import block, counted, cut, finalize, short
from console.times import milliseconds

TEMPLATES = Path(__file__).parent / "templates"


def environment() -> Environment:
    """Return the environment that all pages are rendered in."""
    templates = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    templates.filters.update(
        cut=cut, short=short, block=block, counted=counted, milliseconds=milliseconds
    )
    templates.globals.update(asset=asset)
    return templates

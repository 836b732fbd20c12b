"""A statement's parameters as a row, or as many: what is written reads from either alike."""

from collections.abc import Mapping

Columns = Mapping[str, str]
"""Name → type, in the order of the parameters."""


def parameters(columns: Columns) -> dict[str, str]:
    """Give the parameters ``$1``, ``$2`` … by name, each with its type."""
    return {name: f"${n}::{kind}" for n, (name, kind) in enumerate(columns.items(), start=1)}


def one_row(columns: Columns) -> str:
    """Select parameters ``$1``, ``$2`` … as one row."""
    return f"SELECT {', '.join(f'{n} AS {name}' for name, n in parameters(columns).items())}"


def many_rows(columns: Columns) -> str:
    """Give arrays ``$1``, ``$2`` …, all of one length, as rows; for a FROM.

    How long they are is hidden from the planner. For few it would find a plan made for just them
    a little cheaper than one for any number, and would plan every execution anew.
    """
    arrays = [f"${n}::{kind}[]" for n, kind in enumerate(columns.values(), start=1)]
    arrays[0] = f"(SELECT {arrays[0]})"
    return f"unnest({', '.join(arrays)}) WITH ORDINALITY AS given ({', '.join(columns)}, place)"

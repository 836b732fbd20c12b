"""A statement's parameters as one row or many: a write can read from both in the same way."""

from collections.abc import Mapping

Columns = Mapping[str, str]
"""Name → type, in the order of the parameters."""


def parameters(columns: Columns) -> dict[str, str]:
    """Return the parameters ``$1``, ``$2`` … by name, each with its type."""
    return {name: f"${n}::{kind}" for n, (name, kind) in enumerate(columns.items(), start=1)}


def one_row(columns: Columns) -> str:
    """Return a SELECT of the parameters ``$1``, ``$2`` … as one row."""
    return f"SELECT {', '.join(f'{n} AS {name}' for name, n in parameters(columns).items())}"


def one_value_list(columns: Columns) -> str:
    """Return the parameters ``$1``, ``$2`` … as a VALUES clause: one row."""
    return f"VALUES ({', '.join(parameters(columns).values())})"


def many_rows(columns: Columns) -> str:
    """Return a FROM item of the arrays ``$1``, ``$2`` …, all of one length, as rows.

    Their length is hidden from the planner. For few rows it would find a plan for that number a
    little cheaper than a generic one, and would plan every execution again.
    """
    arrays = [f"${n}::{kind}[]" for n, kind in enumerate(columns.values(), start=1)]
    arrays[0] = f"(SELECT {arrays[0]})"
    return f"unnest({', '.join(arrays)}) WITH ORDINALITY AS given ({', '.join(columns)}, place)"

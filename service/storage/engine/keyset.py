"""The bounds of pages by (time, id), newest first."""

from datetime import UTC, datetime
from uuid import UUID

EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
"""Earlier than every row."""

LATEST = datetime(9999, 1, 1, tzinfo=UTC)
"""Later than every row."""

NEWEST = (LATEST, UUID(int=2**128 - 1))
"""The (time, id) that every row comes before: where the first page starts."""

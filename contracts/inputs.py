"""Kinds of values that admin inputs are made of. The bounds show in the schemas."""

from typing import Annotated

from msgspec import Meta

from contracts.subjects import RUNNER_POOL_PATTERN

UUID_PATTERN = "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"
MAX_LIMIT = 200
MAX_PREVIEW = 50
MAX_RECENT = 20
MAX_CAPABILITIES = 100
MAX_ENDPOINTS = 1000
MAX_IMPORT_ROWS = 1000

Id = Annotated[str, Meta(pattern=UUID_PATTERN, description="A UUID")]

IdPrefix = Annotated[
    str, Meta(pattern="^[0-9a-fA-F-]{4,36}$", description="The first characters of a UUID")
]

TenantId = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^(?!\*$)[\s\S]*$")]
"""A tenant of the platform; ``*`` is none."""

RunnerPool = Annotated[str, Meta(pattern=RUNNER_POOL_PATTERN)]
"""The name of a Runner pool."""

Name = Annotated[str, Meta(min_length=1, max_length=255)]
"""A name or version of something."""

Label = Annotated[str, Meta(max_length=255)]
"""Words for people, or none."""

Limit = Annotated[int, Meta(ge=1, le=MAX_LIMIT, description="Rows of a page")]

Cursor = Annotated[str, Meta(max_length=2048, description="The nextCursor of the page before")]

PreviewCount = Annotated[int, Meta(ge=1, le=MAX_PREVIEW)]

RecentCount = Annotated[int, Meta(ge=0, le=MAX_RECENT)]
"""Runs in short, of each schedule of a list."""

Capabilities = Annotated[list[Name], Meta(max_length=MAX_CAPABILITIES)]
"""Names of capabilities; unknown ones have no effect."""

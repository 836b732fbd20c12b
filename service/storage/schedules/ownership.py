"""Who drives a schedule row: this service, or another job runner that has left its handle in it.

A row without a handle is this service's, unless it was released to the platform.
"""

_DRIVEN_BY_OTHER = """(coalesce({row}.released, false)
    OR coalesce({row}.job_id <> {row}.id, false)
    OR coalesce(nullif({row}.runner_schedule_id, '')
      <> 'extsched:' || {row}.install_id::text || ':' || {row}.id::text, false))"""


def driven_by_other(row: str) -> str:
    """Return the condition that another runner drives the row of ``tenant_extension_schedule``."""
    return _DRIVEN_BY_OTHER.format(row=row)


DRIVEN_BY_OTHER = driven_by_other("s")

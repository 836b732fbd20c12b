"""Which schedules go along when an install moves to another version."""

from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

from msgspec import Struct

from service.rules.endpoints import Manifest, normal_method, normal_path, schedulable

EndpointKey = tuple[str, str]
"""Method and path, normalised."""


class RemapCandidate(Struct, frozen=True):
    """A schedule as far as a move concerns it; ``key`` is None where its endpoint is unknown.

    ``marked`` are those that an earlier move disabled for want of their endpoint.
    """

    id: UUID
    key: EndpointKey | None
    enabled: bool
    marked: bool


class Remap(Struct, frozen=True):
    """What a move means. ``missing`` have no endpoint there; ``blocking`` of them stand in its way.

    ``targets`` maps schedules to endpoints; ``lost`` are to be disabled if the move is made all
    the same, ``reenable`` to be enabled again.
    """

    targets: Mapping[UUID, UUID]
    missing: Sequence[UUID]
    blocking: Sequence[UUID]
    lost: Sequence[UUID]
    reenable: Sequence[UUID]


def key_of(method: str | None, path: str | None) -> EndpointKey | None:
    """The normalised method and path of an endpoint, None where its row is gone."""
    if method is None or path is None:
        return None
    return normal_method(method), normal_path(path)


def remap(
    schedules: Iterable[RemapCandidate],
    endpoints: Iterable[tuple[UUID, str, str]],
    manifest: Manifest,
) -> Remap:
    """Match schedules by method and path to the schedulable of (id, method, path).

    A schedule that an earlier move has disabled already does not stand in the way of the next.
    """
    endpoint_ids = {
        (normal_method(method), normal_path(path)): id_
        for id_, method, path in endpoints
        if schedulable(method, path, manifest)
    }
    schedules = list(schedules)
    targets = {each.id: endpoint_ids[each.key] for each in schedules if each.key in endpoint_ids}
    missing = [each for each in schedules if each.id not in targets]
    return Remap(
        targets=targets,
        missing=[each.id for each in missing],
        blocking=[each.id for each in missing if each.enabled or not each.marked],
        lost=[each.id for each in missing if each.enabled],
        reenable=[each.id for each in schedules if each.id in targets and _returns(each)],
    )


def _returns(each: RemapCandidate) -> bool:
    return each.marked and not each.enabled

"""The mapping of schedules to the endpoints of another version of their extension."""

from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

from msgspec import Struct

from service.rules.endpoints import EndpointManifest, normal_method, normal_path, schedulable

EndpointKey = tuple[str, str]
"""Method and path, normalised."""


class RemapCandidate(Struct, frozen=True):
    """A schedule to remap; ``key`` is None where its endpoint is unknown.

    ``marked`` means that an earlier move disabled it because its endpoint was missing.
    One that is ``driven_by_other`` is neither disabled nor enabled.
    """

    id: UUID
    key: EndpointKey | None
    enabled: bool
    marked: bool
    driven_by_other: bool = False


class Remap(Struct, frozen=True):
    """The outcome of a move. ``missing`` have no endpoint there; ``blocking`` of them prevent it.

    ``held`` do so however the move is made: another job runner would go on firing them.
    ``targets`` maps schedules to endpoints; ``lost`` are disabled if the move is made
    nevertheless, ``reenable`` are enabled.
    """

    targets: Mapping[UUID, UUID]
    missing: Sequence[UUID]
    blocking: Sequence[UUID]
    held: Sequence[UUID]
    lost: Sequence[UUID]
    reenable: Sequence[UUID]


def key_of(method: str | None, path: str | None) -> EndpointKey | None:
    """Return the normalised method and path of an endpoint, None for a missing row."""
    if method is None or path is None:
        return None
    return normal_method(method), normal_path(path)


def remap(
    schedules: Iterable[RemapCandidate],
    endpoints: Iterable[tuple[UUID, str, str]],
    manifest: EndpointManifest,
) -> Remap:
    """Match schedules by method and path to the schedulable of (id, method, path).

    A schedule that an earlier move has disabled does not block the next one.
    """
    endpoint_ids = {
        (normal_method(method), normal_path(path)): id_
        for id_, method, path in endpoints
        if schedulable(method, path, manifest)
    }
    schedules = list(schedules)
    targets = {
        schedule.id: endpoint_ids[schedule.key]
        for schedule in schedules
        if schedule.key in endpoint_ids
    }
    missing = [schedule for schedule in schedules if schedule.id not in targets]
    return Remap(
        targets=targets,
        missing=[schedule.id for schedule in missing],
        blocking=[schedule.id for schedule in missing if schedule.enabled or not schedule.marked],
        held=[schedule.id for schedule in missing if schedule.enabled and schedule.driven_by_other],
        lost=[
            schedule.id for schedule in missing if schedule.enabled and not schedule.driven_by_other
        ],
        reenable=[
            schedule.id for schedule in schedules if schedule.id in targets and _returns(schedule)
        ],
    )


def _returns(schedule: RemapCandidate) -> bool:
    return schedule.marked and not schedule.enabled and not schedule.driven_by_other

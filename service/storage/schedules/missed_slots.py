"""The event that reports slots which were passed over, written with the timer that counts them."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from contracts.times import wire_time
from service.storage.engine.connection import Connection
from service.storage.records import outbox
from service.storage.records.outbox import OutboxEvent
from service.storage.schedules.timers import Timer


async def report(
    connection: Connection, missed: Sequence[tuple[Timer, int]], now: datetime
) -> None:
    """Write an event for each of these timers and its number of slots, in the planner's batch."""
    events = [
        OutboxEvent(
            tenant_id=timer.tenant_id,
            install_id=timer.install_id,
            schedule_id=timer.schedule_id,
            type="schedule.missed",
            data=msgspec.json.encode(
                {"slots": slots, "nextRunAt": wire_time(timer.due_at)}
            ).decode(),
        )
        for timer, slots in missed
    ]
    await outbox.insert(connection, events, now)

// The instants at which a schedule is due, in minutes since 1970. Cron fields are wall-clock time;
// a fixed expression whose wall time is skipped fires at the first instant after the gap, and one
// whose wall time occurs twice at the first occurrence only; any other follows elapsed time.
import { MINUTES_PER_DAY } from "./cron.js";
import { offsetPeriodAt } from "./zones.js";
const MINUTE_MS = 60_000;
const DAY_MS = MINUTES_PER_DAY * MINUTE_MS;
/** The first slot strictly after an instant, both in Unix milliseconds. */
export function nextSlot(cron, zone, afterMs) {
    for (const minute of ascending(cron, zone, Math.floor(afterMs / MINUTE_MS), Infinity))
        return minute * MINUTE_MS;
    throw new RangeError("there is no slot before 2070");
}
/** All slots with `startMs <= slot < endMs`, in Unix milliseconds. */
export function slotsBetween(cron, zone, startMs, endMs) {
    const [after, until] = [Math.ceil(startMs / MINUTE_MS) - 1, Math.ceil(endMs / MINUTE_MS) - 1];
    return [...ascending(cron, zone, after, until)].map((minute) => minute * MINUTE_MS);
}
function* ascending(cron, zone, after, until) {
    let start = after + 1;
    for (;;) {
        // Nothing fires before the next matching wall time: an offset is less than a day.
        start = Math.max(start, wallFrom(cron, start - MINUTES_PER_DAY) - MINUTES_PER_DAY);
        if (start > until)
            return;
        const period = offsetPeriodAt(zone, start);
        let low = start + period.offset;
        if (cron.fixed) {
            // How far the wall clock had come before it jumped.
            const reached = period.start + period.before;
            if (start === period.start && reached < low) {
                if (wallFrom(cron, reached) < low && wallFrom(cron, low) !== low)
                    yield start;
            }
            low = Math.max(low, reached);
        }
        const high = Math.min(period.end, until + 1) + period.offset;
        for (let wall = wallFrom(cron, low); wall < high; wall = wallFrom(cron, wall + 1)) {
            yield wall - period.offset;
        }
        start = period.end;
    }
}
/** The first matching wall minute at or after `wall`. */
function wallFrom(cron, wall) {
    let day = Math.floor(wall / MINUTES_PER_DAY);
    const minute = wall - day * MINUTES_PER_DAY;
    const time = matches(cron, day) ? cron.times.find((candidate) => candidate >= minute) : undefined;
    if (time !== undefined)
        return day * MINUTES_PER_DAY + time;
    do
        day += 1;
    while (!matches(cron, day));
    return day * MINUTES_PER_DAY + cron.times[0];
}
function matches(cron, day) {
    const date = new Date(day * DAY_MS);
    return cron.month.has(date.getUTCMonth() + 1)
        && cron.day.has(date.getUTCDate())
        && cron.weekday.has(date.getUTCDay());
}

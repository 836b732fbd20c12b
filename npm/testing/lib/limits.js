// Limits, and the sliding window of the rate.
import { WINDOW_MS } from "./constants.js";
export const tooManySchedules = (limit) => `Too many schedules (max ${limit} per extension install)`;
export const tooManyChanges = (limit, now, waitMs) => `Too many schedule changes (max ${limit} a minute; the next from ${new Date(now + waitMs).toISOString()})`;
/** Undefined if one more change is allowed, else the milliseconds until it would be. */
export function checkRate(accepted, now, limit) {
    const recent = recentOf(accepted, now);
    return recent.length < limit ? undefined : Math.ceil(recent.at(-limit) + WINDOW_MS - now);
}
/** The instants to keep after a change at `now`. */
export const appendWindow = (accepted, now, limit) => [...recentOf(accepted, now), now].slice(-limit);
const recentOf = (accepted, now) => accepted.filter((at) => Math.abs(now - at) < WINDOW_MS).sort((a, b) => a - b);

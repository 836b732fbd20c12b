// Limits, and the sliding window of the rate.
import { DEFAULT_LIMITS, WINDOW_MS } from "./constants.js";

export type Limits = { readonly [Name in keyof typeof DEFAULT_LIMITS]: number };

export const tooManySchedules = (limit: number): string =>
  `Too many schedules (max ${limit} per extension install)`;

export const tooManyChanges = (limit: number, now: number, waitMs: number): string =>
  `Too many schedule changes (max ${limit} a minute; the next from ${new Date(now + waitMs).toISOString()})`;

/** Undefined if one more change is allowed, else the milliseconds until it would be. */
export function checkRate(accepted: readonly number[], now: number, limit: number): number | undefined {
  const recent = recentOf(accepted, now);
  return recent.length < limit ? undefined : Math.ceil(recent.at(-limit)! + WINDOW_MS - now);
}

/** The instants to keep after a change at `now`. */
export const appendWindow = (accepted: readonly number[], now: number, limit: number): number[] =>
  [...recentOf(accepted, now), now].slice(-limit);

const recentOf = (accepted: readonly number[], now: number): number[] =>
  accepted.filter((at) => Math.abs(now - at) < WINDOW_MS).sort((a, b) => a - b);

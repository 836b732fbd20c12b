// Time zones of the release that the service has, from data/zones.json.
import { readFileSync } from "node:fs";

interface Data {
  readonly release: string;
  readonly until: number;
  readonly zones: Readonly<Record<string, number>>;
  readonly periods: readonly (readonly (readonly [number, number])[])[];
}

const data = JSON.parse(readFileSync(new URL("../data/zones.json", import.meta.url), "utf8")) as Data;

/** The IANA release. */
export const release = data.release;

/** Periods with one offset from UTC, in minutes since 1970. */
export type Zone = readonly (readonly [start: number, offset: number])[];

/** `start <= minute < end` with one `offset`; `before` is the one just before `start`. */
export interface OffsetPeriod {
  readonly start: number;
  readonly end: number;
  readonly offset: number;
  readonly before: number;
}

/** The zone of exactly that spelling. */
export function loadZone(name: string): Zone | undefined {
  return Object.hasOwn(data.zones, name) ? data.periods[data.zones[name]!] : undefined;
}

/** Throws a RangeError for a time before 1970, or beyond what is known of clock changes. */
export function offsetPeriodAt(zone: Zone, minute: number): OffsetPeriod {
  if (minute < 0 || minute >= data.until) throw new RangeError("the time is outside 1970-2069");
  let [low, high] = [0, zone.length - 1];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (zone[middle]![0] <= minute) low = middle;
    else high = middle - 1;
  }
  const [start, offset] = zone[low]!;
  return {
    start,
    end: zone[low + 1]?.[0] ?? data.until,
    offset,
    before: zone[low - 1]?.[1] ?? offset,
  };
}

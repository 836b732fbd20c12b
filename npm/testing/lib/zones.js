// Time zones of the release that the service has, from data/zones.json.
import { readFileSync } from "node:fs";
const data = JSON.parse(readFileSync(new URL("../data/zones.json", import.meta.url), "utf8"));
/** The IANA release. */
export const release = data.release;
/** The zone of exactly that spelling. */
export function loadZone(name) {
    return Object.hasOwn(data.zones, name) ? data.periods[data.zones[name]] : undefined;
}
/** Throws a RangeError for a time before 1970, or beyond what is known of clock changes. */
export function offsetPeriodAt(zone, minute) {
    if (minute < 0 || minute >= data.until)
        throw new RangeError("the time is outside 1970-2069");
    let [low, high] = [0, zone.length - 1];
    while (low < high) {
        const middle = (low + high + 1) >> 1;
        if (zone[middle][0] <= minute)
            low = middle;
        else
            high = middle - 1;
    }
    const [start, offset] = zone[low];
    return {
        start,
        end: zone[low + 1]?.[0] ?? data.until,
        offset,
        before: zone[low - 1]?.[1] ?? offset,
    };
}

/** The IANA release. */
export declare const release: string;
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
export declare function loadZone(name: string): Zone | undefined;
/** Throws a RangeError for a time before 1970, or beyond what is known of clock changes. */
export declare function offsetPeriodAt(zone: Zone, minute: number): OffsetPeriod;

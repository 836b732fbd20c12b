import { DEFAULT_LIMITS } from "./constants.js";
export type Limits = {
    readonly [Name in keyof typeof DEFAULT_LIMITS]: number;
};
export declare const tooManySchedules: (limit: number) => string;
export declare const tooManyChanges: (limit: number, now: number, waitMs: number) => string;
/** Undefined if one more change is allowed, else the milliseconds until it would be. */
export declare function checkRate(accepted: readonly number[], now: number, limit: number): number | undefined;
/** The instants to keep after a change at `now`. */
export declare const appendWindow: (accepted: readonly number[], now: number, limit: number) => number[];

import { type Cron } from "./cron.js";
import { type Selector } from "./endpoints.js";
import type { Json } from "./json.js";
import type { Limits } from "./limits.js";
/** Field by wire name to message. */
export type FieldErrors = Record<string, string>;
/** Checked values: undefined where absent or in error, null clears. */
export interface Checked {
    readonly scheduleId?: string;
    readonly endpoint?: Selector;
    readonly cron?: Cron;
    readonly timezone?: string;
    readonly enabled?: boolean;
    readonly name?: string | null;
    readonly payload?: Json;
}
/** Fields as they were given, undefined where absent. */
export type Given = {
    readonly [Name in keyof Checked]?: unknown;
};
/** Null means absent; endpoint and cron are required. */
export declare function checkCreate(given: Given, limits: Limits): [Checked, FieldErrors];
/** Null clears name or payload, and is an error elsewhere. */
export declare function checkUpdate(given: Given, limits: Limits): [Checked, FieldErrors];
export declare function checkScheduleId(id: unknown, limits: Limits): [Checked, FieldErrors];
/** The same errors in the order of the input. */
export declare const orderErrors: (order: readonly string[], errors: FieldErrors) => FieldErrors;

import { type Cron } from "./cron.js";
import { type Zone } from "./zones.js";
/** The first slot strictly after an instant, both in Unix milliseconds. */
export declare function nextSlot(cron: Cron, zone: Zone, afterMs: number): number;
/** All slots with `startMs <= slot < endMs`, in Unix milliseconds. */
export declare function slotsBetween(cron: Cron, zone: Zone, startMs: number, endMs: number): number[];

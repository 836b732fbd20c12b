import type { Json } from "./json.js";
/** The size of a value; members that are undefined are not sent. */
export declare function requestSize(value: Json | boolean | Readonly<Record<string, Json | undefined>>): number;

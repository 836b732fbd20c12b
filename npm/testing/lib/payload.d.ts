import { type Json } from "./json.js";
/** The field error of a payload, undefined for a valid one. */
export declare function checkPayload(value: Json, maxLength: number, maxDepth: number): string | undefined;

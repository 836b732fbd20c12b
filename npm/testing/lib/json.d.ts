/** A JSON value: `bigint` is an integer, `number` a float. */
export type Json = null | boolean | string | bigint | number | Json[] | Map<string, Json>;
/** Throws a SyntaxError for what is not JSON, or what the bus cannot carry. */
export declare function parse(text: string): Json;
/** Compact JSON, non-ASCII unescaped, with floats as `float` writes them. */
export declare function write(value: Json, float?: (value: number) => string): string;
/** As an extension reads a payload back. */
export declare function guestFloat(value: number): string;
/** As it travels and is sent to an endpoint: what the largest payload is measured on. */
export declare function wireFloat(value: number): string;
/** As it is stored: always written out. */
export declare function storedFloat(value: number): string;

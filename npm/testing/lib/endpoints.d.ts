export interface Endpoint {
    readonly method: string;
    readonly path: string;
    readonly handler: string;
    readonly schedulable: boolean;
}
/** What a schedule names; `method` is undefined for a bare path. */
export interface Selector {
    readonly path: string;
    readonly method?: string;
}
/** The endpoints of a manifest's list by path, then method: malformed ones are skipped. */
export declare function readEndpoints(listed: unknown): Endpoint[];
/** `/path` or `METHOD /path`; undefined for a text that cannot select an endpoint. */
export declare function parseSelector(text: string, maxLength: number): Selector | undefined;
/** The endpoint that a selector names, undefined where it may not be scheduled. */
export declare function chooseEndpoint(selector: Selector, endpoints: readonly Endpoint[], hasPayload: boolean): Endpoint | undefined;

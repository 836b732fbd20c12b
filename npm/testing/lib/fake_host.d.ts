import { type LogLevel } from "./host.js";
import type { Limits } from "./limits.js";
import type { ScheduleInfo } from "./world.js";
export interface FakeHostOptions {
    /** Directory of `manifest.json`, as a path or a `file:` URL. */
    readonly directory: string | URL;
    /** The module that exports `handler`, from the directory; what the compiler wrote, for TypeScript. */
    readonly module?: string;
    /** Where the clock starts. */
    readonly now?: Date | string;
    readonly limits?: Partial<Limits>;
    /** Capabilities of the install; by default what the manifest declares. */
    readonly granted?: readonly string[];
}
/** A call of a schedule at a slot; `name` is its id where it has none. */
export interface Fire {
    readonly at: Date;
    readonly name: string;
    readonly method: string;
    readonly path: string;
    readonly payload: unknown;
}
/** An attempt that was made. */
export interface Run {
    readonly fire: Fire;
    readonly scheduleId: string;
    readonly trigger: "schedule" | "run_now";
    readonly attempt: number;
    readonly idempotencyKey: string;
    readonly response: Response;
}
/** What the extension answered. */
export declare class Response {
    readonly status: number;
    readonly headers: Readonly<Record<string, string>>;
    readonly body: Uint8Array;
    constructor(status: number, headers: Readonly<Record<string, string>>, body: Uint8Array);
    text(): string;
    /** The body as JSON. Throws a SyntaxError where it is none. */
    json(): any;
}
/** As in a Runner, nothing of the extension's module survives from one call to the next. */
export declare class FakeHost {
    #private;
    constructor({ directory, module, now, limits, granted }: FakeHostOptions);
    get now(): Date;
    /** What the extension logged: level and message. */
    get logged(): readonly (readonly [level: LogLevel, message: string])[];
    /** The install's schedules in the order of their creation. */
    get schedules(): ScheduleInfo[];
    /** Call an endpoint as a platform's screen does; `body` is bytes, or sent as JSON. */
    call(method: string, path: string, body?: unknown, headers?: Readonly<Record<string, string>>): Promise<Response>;
    /** What the enabled schedules call at the slots `start <= slot < end`, by time; nothing is called. */
    firesBetween(start: Date | string, end: Date | string): Fire[];
    /** Move the clock by milliseconds, and make the calls that are due on the way, one attempt each. */
    advance(milliseconds: number): Promise<Run[]>;
    /** Move the clock to an instant. Rejects with a RangeError for one in the past. */
    advanceTo(moment: Date | string): Promise<Run[]>;
    /** Run a schedule now, by name or id, as an administrator's manual run. */
    fire(name: string): Promise<Run>;
    /** Make a further attempt of an occurrence, as after a lost answer: with the same key. */
    repeat(run: Run): Promise<Run>;
}

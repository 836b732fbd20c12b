export declare const MINUTES_PER_DAY = 1440;
/** An expression that is not accepted; the message is the field error. */
export declare class InvalidCronError extends Error {
}
/** An accepted expression; `times` are the minutes of a matching day, weekdays 0 to 6 from Sunday. */
export interface Cron {
    readonly text: string;
    readonly day: ReadonlySet<number>;
    readonly month: ReadonlySet<number>;
    readonly weekday: ReadonlySet<number>;
    readonly times: readonly number[];
    readonly fixed: boolean;
}
/** Throws an InvalidCronError with the first rule that is broken. */
export declare function parseCron(expression: string, minIntervalMinutes: number, maxLength: number): Cron;

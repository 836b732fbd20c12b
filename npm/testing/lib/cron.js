// Five-field cron expressions: validation, and expansion into numbers.
import { BOTH_DAYS, CRON_TOO_LONG, FIVE_FIELDS, NEVER_FIRES, UNSUPPORTED } from "./constants.js";
import { length, strip } from "./text.js";
export const MINUTES_PER_DAY = 1440;
const FIELDS = [
    ["minute", 0, 59],
    ["hour", 0, 23],
    ["day of month", 1, 31],
    ["month", 1, 12],
    ["day of week", 0, 7],
];
const SUPPORTED = /^[0-9*/,-]+$/;
const TERM = /^(?:(\*)|([0-9]+)(?:-([0-9]+))?)(?:\/([0-9]+))?$/;
const LONGEST_MONTH = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
/** An expression that is not accepted; the message is the field error. */
export class InvalidCronError extends Error {
}
/** Throws an InvalidCronError with the first rule that is broken. */
export function parseCron(expression, minIntervalMinutes, maxLength) {
    const text = strip(expression);
    if (length(text) > maxLength)
        throw new InvalidCronError(CRON_TOO_LONG);
    const fields = text.split(/[ \t]+/).filter((field) => field !== "");
    if (fields.length !== FIELDS.length)
        throw new InvalidCronError(FIVE_FIELDS);
    if (!fields.every((field) => SUPPORTED.test(field)))
        throw new InvalidCronError(UNSUPPORTED);
    const sets = FIELDS.map(([name, lowest, highest], index) => expand(fields[index], name, lowest, highest));
    if (fields[2] !== "*" && fields[4] !== "*")
        throw new InvalidCronError(BOTH_DAYS);
    const [minute, hour, day, month, weekday] = sets;
    const firstDay = Math.min(...day);
    if (![...month].some((number) => firstDay <= LONGEST_MONTH[number - 1])) {
        throw new InvalidCronError(NEVER_FIRES);
    }
    const times = ascending(hour).flatMap((h) => ascending(minute).map((m) => 60 * h + m));
    if (shortestGap(times, hasAdjacentDays(day, month, weekday)) < minIntervalMinutes) {
        throw new InvalidCronError(`Cron too frequent (minimum interval is ${minIntervalMinutes} minutes)`);
    }
    return { text, day, month, weekday, times, fixed: !`${fields[0]}${fields[1]}`.includes("*") };
}
const ascending = (numbers) => [...numbers].sort((a, b) => a - b);
function expand(field, name, lowest, highest) {
    const numbers = new Set();
    for (const term of field.split(",")) {
        for (const number of termNumbers(term, name, lowest, highest)) {
            numbers.add(highest === 7 ? number % 7 : number);
        }
    }
    return numbers;
}
function termNumbers(term, name, lowest, highest) {
    const refuse = (why) => {
        throw new InvalidCronError(`Invalid cron expression (${name}: ${why})`);
    };
    const match = TERM.exec(term);
    if (match === null)
        return refuse(`'${term}' is not a number, range or step`);
    const [, all, first, last, stepText] = match;
    const step = BigInt(stepText ?? "1");
    if (step === 0n)
        return refuse("step must be above 0");
    const low = BigInt(all ? lowest : first);
    const high = BigInt(all ? highest : (last ?? (stepText === undefined ? first : highest)));
    for (const number of [low, high]) {
        if (number < lowest || number > highest)
            return refuse(`${number} is outside ${lowest}-${highest}`);
    }
    if (high < low)
        return refuse(`range ${low}-${high} is not ascending`);
    const numbers = [];
    for (let number = low; number <= high; number += step)
        numbers.push(Number(number));
    return numbers;
}
/** Whether two consecutive dates may match; day or weekday is unrestricted. */
function hasAdjacentDays(day, month, weekday) {
    if (weekday.size < 7)
        return [...weekday].some((number) => weekday.has((number + 1) % 7));
    return [...month].some((number) => {
        const longest = LONGEST_MONTH[number - 1];
        if ([...day].some((date) => day.has(date + 1) && date < longest))
            return true;
        const ends = number === 2 ? [28, 29] : [longest];
        return day.has(1) && month.has((number % 12) + 1) && ends.some((end) => day.has(end));
    });
}
function shortestGap(times, adjacent) {
    let shortest = MINUTES_PER_DAY;
    for (let i = 1; i < times.length; i += 1)
        shortest = Math.min(shortest, times[i] - times[i - 1]);
    return adjacent ? Math.min(shortest, times[0] + MINUTES_PER_DAY - times.at(-1)) : shortest;
}

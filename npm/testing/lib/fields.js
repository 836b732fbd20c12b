// The fields of a create or an update: all errors at once, in the order of the input.
import { CREATE_FIELDS, INVALID_ID, INVALID_NAME, INVALID_TIMEZONE, NAME_TOO_LONG, NOT_SCHEDULABLE, REQUIRED, TIMEZONE_TOO_LONG, UPDATE_FIELDS, } from "./constants.js";
import { InvalidCronError, parseCron } from "./cron.js";
import { parseSelector } from "./endpoints.js";
import { checkPayload } from "./payload.js";
import { isStorable, length, strip } from "./text.js";
import { loadZone } from "./zones.js";
class InvalidValueError extends Error {
}
const UUID = /^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$/;
/** Null means absent; endpoint and cron are required. */
export function checkCreate(given, limits) {
    const present = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== null));
    return validate(CREATE_FIELDS, present, limits, ["endpoint", "cron"]);
}
/** Null clears name or payload, and is an error elsewhere. */
export function checkUpdate(given, limits) {
    return validate(UPDATE_FIELDS, given, limits, ["scheduleId"]);
}
export function checkScheduleId(id, limits) {
    return validate(["scheduleId"], { scheduleId: id }, limits, ["scheduleId"]);
}
/** The same errors in the order of the input. */
export const orderErrors = (order, errors) => Object.fromEntries(order.filter((name) => name in errors).map((name) => [name, errors[name]]));
function validate(order, given, limits, required) {
    const values = {};
    const errors = {};
    for (const name of order) {
        const value = given[name];
        if (value === undefined) {
            if (required.includes(name))
                errors[name] = REQUIRED;
            continue;
        }
        try {
            values[name] = RULES[name](value, limits);
        }
        catch (error) {
            if (!(error instanceof InvalidValueError) && !(error instanceof InvalidCronError))
                throw error;
            errors[name] = error.message;
        }
    }
    return [values, errors];
}
const refuse = (message) => {
    throw new InvalidValueError(message);
};
const wrongType = (expected) => refuse(`Wrong type (expected ${expected})`);
const text = (value) => (typeof value === "string" ? value : wrongType("string"));
const RULES = {
    scheduleId: (value) => (UUID.test(text(value)) ? text(value).toLowerCase() : refuse(INVALID_ID)),
    endpoint: (value, limits) => parseSelector(text(value), limits.maxEndpointLength) ?? refuse(NOT_SCHEDULABLE),
    cron: (value, limits) => parseCron(text(value), limits.minIntervalMinutes, limits.maxCronLength),
    timezone: (value, limits) => {
        const name = strip(text(value)) || "UTC";
        if (length(name) > limits.maxTimezoneLength)
            return refuse(TIMEZONE_TOO_LONG);
        return loadZone(name) === undefined ? refuse(INVALID_TIMEZONE) : name;
    },
    enabled: (value) => (typeof value === "boolean" ? value : wrongType("boolean")),
    name: (value, limits) => {
        if (value === null)
            return null;
        const name = strip(text(value));
        if (length(name) > limits.maxNameLength)
            return refuse(NAME_TOO_LONG);
        return isStorable(name) ? name || null : refuse(INVALID_NAME);
    },
    payload: (value, limits) => {
        const refusal = checkPayload(value, limits.maxPayloadLength, limits.maxPayloadDepth);
        return refusal === undefined ? value : refuse(refusal);
    },
};

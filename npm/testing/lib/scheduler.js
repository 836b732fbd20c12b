// The scheduler of one install in memory: fields, then whether the schedule exists, then rate and quota.
import { randomUUID } from "node:crypto";
import { BAD_PAYLOAD, CREATE_FIELDS, MAX_BODY_BYTES, NAME_TAKEN, NOT_FOUND, NOT_SCHEDULABLE, REQUEST_TOO_LARGE, UPDATE_FIELDS, } from "./constants.js";
import { chooseEndpoint } from "./endpoints.js";
import { checkCreate, checkScheduleId, checkUpdate, orderErrors } from "./fields.js";
import { parse, write } from "./json.js";
import { appendWindow, checkRate, tooManyChanges, tooManySchedules } from "./limits.js";
import { requestSize } from "./request_size.js";
import { nextSlot } from "./slots.js";
import { loadZone } from "./zones.js";
/** The next slot after an instant, in Unix milliseconds. */
export const dueAfter = (schedule, now) => nextSlot(schedule.cron, zoneOf(schedule), now);
/** The zone of a schedule, whose name was checked as a field. */
export const zoneOf = (schedule) => loadZone(schedule.timezone);
class NotJson extends Error {
}
/** The six functions, for an install whose version has these endpoints. */
export class InMemoryScheduler {
    schedules = new Map();
    #endpoints;
    #ids;
    #limits;
    #clock;
    #changes = [];
    constructor(endpoints, limits, clock) {
        this.#endpoints = endpoints;
        this.#ids = endpoints.map(() => randomUUID());
        this.#limits = limits;
        this.#clock = clock;
    }
    list() {
        return [...this.schedules.values()].map(infoOf);
    }
    /** Undefined for an unknown schedule, null for an id that is none. */
    get(id) {
        const [checked, errors] = checkScheduleId(id, this.#limits);
        if (Object.keys(errors).length > 0)
            return null;
        const found = this.schedules.get(checked.scheduleId);
        return found === undefined ? undefined : infoOf(found);
    }
    endpoints() {
        return this.#endpoints.map((endpoint, index) => ({ id: this.#ids[index], ...endpoint }));
    }
    create(input) {
        return this.#judged(() => this.#create(input));
    }
    update(id, input) {
        return this.#judged(() => this.#update(id, input));
    }
    delete(id) {
        const [checked, errors] = checkScheduleId(id, this.#limits);
        if (errors.scheduleId !== undefined)
            return { success: false, error: errors.scheduleId };
        if (!this.schedules.has(checked.scheduleId))
            return { success: false, error: NOT_FOUND };
        const refusal = this.#rateRefusal();
        if (refusal !== undefined)
            return { success: false, error: refusal };
        this.schedules.delete(checked.scheduleId);
        this.#countChange();
        return { success: true };
    }
    #judged(change) {
        try {
            return change();
        }
        catch (error) {
            if (!(error instanceof NotJson))
                throw error;
            return negative({ payload: BAD_PAYLOAD });
        }
    }
    #create(input) {
        const now = this.#clock();
        const payload = readPayload(input.payload);
        // A create leaves out what is null.
        if (isTooLarge({ ...pick(input), payload: payload ?? undefined }))
            return tooLarge();
        const [checked, errors] = checkCreate({ ...pick(input), payload }, this.#limits);
        const endpoint = this.#resolve(checked.endpoint, errors, (checked.payload ?? null) !== null);
        if (checked.name && this.#holder(checked.name) !== undefined)
            errors.name = NAME_TAKEN;
        const { cron } = checked;
        if (Object.keys(errors).length > 0 || endpoint === undefined || cron === undefined) {
            return negative(orderErrors(CREATE_FIELDS, errors));
        }
        const refusal = this.#rateRefusal();
        if (refusal !== undefined)
            return { success: false, error: refusal };
        const { maxSchedules } = this.#limits;
        if (this.schedules.size >= maxSchedules)
            return { success: false, error: tooManySchedules(maxSchedules) };
        const created = {
            id: randomUUID(),
            endpoint,
            name: checked.name ?? null,
            cron,
            timezone: checked.timezone ?? "UTC",
            enabled: checked.enabled ?? true,
            payload: checked.payload ?? null,
            createdAt: now,
            dueAt: undefined,
        };
        this.#write({ ...created, dueAt: created.enabled ? dueAfter(created, now) : undefined });
        return { success: true, scheduleId: created.id };
    }
    #update(id, input) {
        const now = this.#clock();
        const payload = readPayload(input.payload);
        if (isTooLarge({ scheduleId: id, ...pick(input), payload }))
            return tooLarge();
        const [checked, errors] = checkUpdate({ scheduleId: id, ...pick(input), payload }, this.#limits);
        const stored = checked.scheduleId === undefined ? undefined : this.schedules.get(checked.scheduleId);
        const kept = checked.payload === undefined ? (stored?.payload ?? null) : checked.payload;
        const endpoint = this.#resolve(checked.endpoint, errors, kept !== null);
        if (checked.name) {
            const holder = this.#holder(checked.name);
            if (holder !== undefined && holder !== checked.scheduleId)
                errors.name = NAME_TAKEN;
        }
        if (Object.keys(errors).length > 0)
            return negative(orderErrors(UPDATE_FIELDS, errors));
        if (stored === undefined)
            return { success: false, error: NOT_FOUND };
        const refusal = this.#rateRefusal();
        if (refusal !== undefined)
            return { success: false, error: refusal };
        const merged = {
            ...stored,
            endpoint: endpoint ?? stored.endpoint,
            name: checked.name === undefined ? stored.name : checked.name,
            cron: checked.cron ?? stored.cron,
            timezone: checked.timezone ?? stored.timezone,
            enabled: checked.enabled ?? stored.enabled,
            payload: kept,
        };
        const isTimed = merged.cron.text !== stored.cron.text
            || merged.timezone !== stored.timezone
            || merged.enabled !== stored.enabled;
        const dueAt = merged.enabled ? (isTimed ? dueAfter(merged, now) : stored.dueAt) : undefined;
        this.#write({ ...merged, dueAt });
        return { success: true };
    }
    #resolve(selector, errors, hasPayload) {
        if (selector === undefined)
            return undefined;
        const chosen = chooseEndpoint(selector, this.#endpoints, hasPayload);
        if (chosen === undefined)
            errors.endpoint = NOT_SCHEDULABLE;
        return chosen;
    }
    #holder(name) {
        return [...this.schedules.values()].find((schedule) => schedule.name === name)?.id;
    }
    #rateRefusal() {
        const [now, limit] = [this.#clock(), this.#limits.changesPerMinute];
        const wait = checkRate(this.#changes, now, limit);
        return wait === undefined ? undefined : tooManyChanges(limit, now, wait);
    }
    #write(schedule) {
        this.schedules.set(schedule.id, schedule);
        this.#countChange();
    }
    #countChange() {
        this.#changes = appendWindow(this.#changes, this.#clock(), this.#limits.changesPerMinute);
    }
}
const isTooLarge = (request) => requestSize(request) > MAX_BODY_BYTES;
const tooLarge = () => ({ success: false, error: REQUEST_TOO_LARGE });
const pick = ({ endpoint, cron, timezone, enabled, name }) => ({ endpoint, cron, timezone, enabled, name });
/** A payload text as a value; undefined where there is none. */
function readPayload(text) {
    if (text === undefined)
        return undefined;
    try {
        return parse(text);
    }
    catch {
        throw new NotJson();
    }
}
function negative(errors) {
    const [first] = Object.values(errors);
    return { success: false, error: first, fieldErrors: JSON.stringify(errors) };
}
function infoOf(schedule) {
    const given = (name, value) => value === null || value === undefined ? {} : { [name]: value };
    const at = (instant) => instant === undefined ? undefined : new Date(instant).toISOString();
    return {
        id: schedule.id,
        endpointPath: schedule.endpoint.path,
        endpointMethod: schedule.endpoint.method,
        cron: schedule.cron.text,
        timezone: schedule.timezone,
        enabled: schedule.enabled,
        ...given("name", schedule.name),
        ...given("payload", schedule.payload === null ? null : write(schedule.payload)),
        ...given("lastRunAt", at(schedule.lastRunAt)),
        ...given("lastRunStatus", schedule.lastRunStatus),
        ...given("lastError", schedule.lastError),
        createdAt: new Date(schedule.createdAt).toISOString(),
    };
}

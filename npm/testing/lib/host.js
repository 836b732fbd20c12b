// What an extension may call, behind the capabilities of its install.
import { CAPABILITIES, DEFAULT_CAPABILITIES, KNOWN_CAPABILITIES } from "./constants.js";
import { hostError } from "./storage.js";
import { strip } from "./text.js";
/** The capabilities of an install: those that are granted and declared, and the defaults. */
export function effectiveCapabilities(granted, declared) {
    const names = (list) => list.map((name) => strip(name).toLowerCase()).filter((name) => name !== "");
    const claims = new Set(names(declared));
    const held = names(granted).filter((name) => claims.size === 0 || claims.has(name));
    return new Set([...held.filter((name) => KNOWN_CAPABILITIES.includes(name)), ...DEFAULT_CAPABILITIES]);
}
/** The host functions of one install. A wrong type throws, where a component would trap. */
export class HostFunctions {
    logged = [];
    #capabilities;
    #scheduler;
    #storage;
    #context;
    constructor(capabilities, scheduler, storage, context) {
        this.#capabilities = capabilities;
        this.#scheduler = scheduler;
        this.#storage = storage;
        this.#context = context;
    }
    getContext() {
        if (!this.#may("context"))
            throw new Error(denial("context"));
        return this.#context();
    }
    log(level, message) {
        expectText(message, "message");
        if (this.#may("logging"))
            this.logged.push([level, message]);
    }
    storage() {
        if (!this.#may("storage"))
            throw hostError("denied");
        return this.#storage;
    }
    listSchedules() {
        this.#readsSchedules();
        return this.#scheduler.list();
    }
    getSchedule(scheduleId) {
        this.#readsSchedules();
        const found = this.#scheduler.get(expectText(scheduleId, "scheduleId"));
        if (found === null)
            throw hostError("validation-failed");
        return found;
    }
    getEndpoints() {
        this.#readsSchedules();
        return this.#scheduler.endpoints();
    }
    createSchedule(input) {
        expectText(input.endpoint, "endpoint");
        expectText(input.cron, "cron");
        expectOptions(input);
        return this.#may("scheduler") ? this.#scheduler.create(input) : refusedChange();
    }
    updateSchedule(scheduleId, input) {
        expectText(scheduleId, "scheduleId");
        expectOptions(input);
        return this.#may("scheduler") ? this.#scheduler.update(scheduleId, input) : refusedChange();
    }
    deleteSchedule(scheduleId) {
        expectText(scheduleId, "scheduleId");
        return this.#may("scheduler") ? this.#scheduler.delete(scheduleId) : refusedChange();
    }
    #may(name) {
        return this.#capabilities.has(CAPABILITIES[name]);
    }
    #readsSchedules() {
        if (!this.#may("scheduler"))
            throw hostError("denied");
    }
}
const denial = (name) => `Capability ${CAPABILITIES[name]} is not granted`;
const refusedChange = () => ({ success: false, error: denial("scheduler") });
function expectText(value, name) {
    if (typeof value !== "string")
        throw new TypeError(`${name}: expected a string, got ${typeof value}`);
    return value;
}
function expectOptions(input) {
    for (const name of ["endpoint", "cron", "timezone", "name", "payload"]) {
        if (input[name] !== undefined && input[name] !== null)
            expectText(input[name], name);
    }
    if (input.enabled !== undefined && input.enabled !== null && typeof input.enabled !== "boolean") {
        throw new TypeError(`enabled: expected a boolean, got ${typeof input.enabled}`);
    }
}

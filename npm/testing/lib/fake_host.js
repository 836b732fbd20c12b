// One install of an extension: the service's own rules, storage, logging, and a clock to move.
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { register } from "node:module";
import { resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { DEFAULT_LIMITS } from "./constants.js";
import { within } from "./current.js";
import { readEndpoints } from "./endpoints.js";
import { effectiveCapabilities, HostFunctions } from "./host.js";
import { wireFloat, write } from "./json.js";
import { dueAfter, InMemoryScheduler, zoneOf } from "./scheduler.js";
import { slotsBetween } from "./slots.js";
import { MemoryStorage } from "./storage.js";
const TENANT = "test-tenant";
const IMPORTS = new URL("./imports/", import.meta.url).href;
// What the extension imports from the host becomes this kit.
register(`data:text/javascript,${encodeURIComponent(`
export async function resolve(specifier, context, next) {
  const name = /^alga:extension\\/([a-z-]+)$/.exec(specifier)?.[1];
  if (name === undefined) return next(specifier, context);
  return { url: ${JSON.stringify(IMPORTS)} + name + ".js", shortCircuit: true };
}`)}`);
/** What the extension answered. */
export class Response {
    status;
    headers;
    body;
    constructor(status, headers, body) {
        this.status = status;
        this.headers = headers;
        this.body = body;
    }
    text() {
        return new TextDecoder().decode(this.body);
    }
    /** The body as JSON. Throws a SyntaxError where it is none. */
    json() {
        return JSON.parse(this.text());
    }
}
let loads = 0;
/** As in a Runner, nothing of the extension's module survives from one call to the next. */
export class FakeHost {
    #module;
    #scheduler;
    #functions;
    #extensionId;
    #installId = randomUUID();
    #versionId = randomUUID();
    #requestId = "";
    #now;
    constructor({ directory, module = "extension.js", now = "2026-01-01T00:00:00Z", limits, granted }) {
        const home = typeof directory === "string" ? resolve(directory) : fileURLToPath(directory);
        const manifest = JSON.parse(readFileSync(resolve(home, "manifest.json"), "utf8"));
        const declared = manifest.capabilities ?? [];
        const endpoints = readEndpoints(manifest.api?.endpoints);
        this.#module = pathToFileURL(resolve(home, module)).href;
        this.#now = instant(now);
        this.#extensionId = `${manifest.publisher}/${manifest.name}`;
        this.#scheduler = new InMemoryScheduler(endpoints, { ...DEFAULT_LIMITS, ...limits }, () => this.#now);
        this.#functions = new HostFunctions(effectiveCapabilities(granted ?? declared, declared), this.#scheduler, new MemoryStorage(), () => this.#context());
    }
    get now() {
        return new Date(this.#now);
    }
    /** What the extension logged: level and message. */
    get logged() {
        return this.#functions.logged;
    }
    /** The install's schedules in the order of their creation. */
    get schedules() {
        return this.#scheduler.list();
    }
    /** Call an endpoint as a platform's screen does; `body` is bytes, or sent as JSON. */
    async call(method, path, body, headers = {}) {
        const encoder = new TextEncoder();
        const sent = body === undefined || body instanceof Uint8Array ? body : encoder.encode(JSON.stringify(body));
        const kind = sent === undefined ? {} : { "content-type": "application/json" };
        const listed = Object.entries({ ...kind, ...headers }).map(([name, value]) => ({ name, value }));
        loads += 1;
        const extension = (await import(`${this.#module}?load=${loads}`));
        if (typeof extension.handler !== "function")
            throw new TypeError(`${this.#module} exports no handler`);
        this.#requestId = randomUUID();
        const http = { method: method.toUpperCase(), url: path, headers: listed, ...(sent && { body: sent }) };
        const { handler } = extension;
        return checked(within(this.#functions, () => handler({ context: this.#context(), http })));
    }
    /** What the enabled schedules call at the slots `start <= slot < end`, by time; nothing is called. */
    firesBetween(start, end) {
        const fires = [...this.#scheduler.schedules.values()]
            .filter((schedule) => schedule.enabled)
            .flatMap((schedule) => slotsBetween(schedule.cron, zoneOf(schedule), instant(start), instant(end))
            .map((slot) => fireOf(schedule, slot)));
        return fires.sort((a, b) => a.at.getTime() - b.at.getTime());
    }
    /** Move the clock by milliseconds, and make the calls that are due on the way, one attempt each. */
    advance(milliseconds) {
        return this.advanceTo(new Date(this.#now + milliseconds));
    }
    /** Move the clock to an instant. Rejects with a RangeError for one in the past. */
    async advanceTo(moment) {
        const until = instant(moment);
        if (until < this.#now)
            throw new RangeError("the clock goes forward only");
        const runs = [];
        for (let due = this.#nextDue(until); due !== undefined; due = this.#nextDue(until)) {
            const slot = due.dueAt;
            this.#now = slot;
            const following = { ...due, dueAt: dueAfter(due, slot) };
            this.#scheduler.schedules.set(due.id, following);
            runs.push(await this.#attempt(following, slot, "schedule", 1, randomUUID()));
        }
        this.#now = until;
        return runs;
    }
    /** Run a schedule now, by name or id, as an administrator's manual run. */
    async fire(name) {
        const found = [...this.#scheduler.schedules.values()].find((schedule) => schedule.name === name || schedule.id === name);
        if (found === undefined)
            throw new RangeError(`there is no schedule ${name}`);
        return this.#attempt(found, this.#now, "run_now", 1, randomUUID());
    }
    /** Make a further attempt of an occurrence, as after a lost answer: with the same key. */
    async repeat(run) {
        const schedule = this.#scheduler.schedules.get(run.scheduleId);
        if (schedule === undefined)
            throw new RangeError("the schedule is gone");
        return this.#attempt(schedule, run.fire.at.getTime(), run.trigger, run.attempt + 1, run.idempotencyKey);
    }
    #context() {
        return {
            requestId: this.#requestId,
            tenantId: TENANT,
            extensionId: this.#extensionId,
            installId: this.#installId,
            versionId: this.#versionId,
        };
    }
    #nextDue(until) {
        let next;
        for (const schedule of this.#scheduler.schedules.values()) {
            if (schedule.dueAt === undefined || schedule.dueAt > until)
                continue;
            if (next === undefined || schedule.dueAt < next.dueAt)
                next = schedule;
        }
        return next;
    }
    async #attempt(schedule, slot, trigger, attempt, idempotencyKey) {
        const fire = fireOf(schedule, slot);
        const headers = {
            "x-alga-tenant": TENANT,
            "x-alga-extension": this.#extensionId,
            "x-alga-schedule-id": schedule.id,
            ...(schedule.name !== null && { "x-alga-schedule-name": percentEncoded(schedule.name) }),
            "x-alga-scheduled-for": `${new Date(slot).toISOString().slice(0, 19)}Z`,
            "x-alga-attempt": String(attempt),
            "x-alga-trigger": trigger,
            "x-idempotency-key": idempotencyKey,
        };
        const { payload, endpoint } = schedule;
        // GET never has a body.
        const body = payload === null || endpoint.method === "GET"
            ? undefined
            : new TextEncoder().encode(write(payload, wireFloat));
        const response = await this.call(endpoint.method, endpoint.path, body, headers);
        this.#record(schedule.id, response);
        return { fire, scheduleId: schedule.id, trigger, attempt, idempotencyKey, response };
    }
    #record(id, { status }) {
        const stored = this.#scheduler.schedules.get(id);
        if (stored === undefined)
            return; // the extension deleted its own schedule
        const succeeded = status >= 200 && status < 400;
        this.#scheduler.schedules.set(id, {
            ...stored,
            lastRunAt: this.#now,
            lastRunStatus: succeeded ? "success" : "error",
            lastError: succeeded ? undefined : `The extension answered with status ${status}`,
        });
    }
}
function fireOf(schedule, slot) {
    return {
        at: new Date(slot),
        name: schedule.name ?? schedule.id,
        method: schedule.endpoint.method,
        path: schedule.endpoint.path,
        payload: schedule.payload === null ? null : JSON.parse(write(schedule.payload)),
    };
}
function instant(moment) {
    const zoned = moment instanceof Date || /(Z|[+-]\d\d:\d\d)$/.test(moment);
    const at = new Date(moment).getTime();
    if (!zoned || Number.isNaN(at))
        throw new RangeError(`${String(moment)}: no instant; write 2026-01-01T00:00:00Z`);
    return at;
}
const percentEncoded = (text) => encodeURIComponent(text).replace(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);
/** Checks what the handler returned, as strictly as a component's types would. */
function checked(answer) {
    if (typeof answer !== "object" || answer === null)
        throw new TypeError("the handler returned no response");
    const { status, headers, body } = answer;
    if (!Number.isInteger(status) || status < 100 || status > 599) {
        throw new TypeError(`the handler returned status ${String(status)}`);
    }
    if (!Array.isArray(headers))
        throw new TypeError("the handler returned no list of headers");
    if (body !== undefined && !(body instanceof Uint8Array))
        throw new TypeError("the body is no Uint8Array");
    const named = Object.fromEntries(headers.map(({ name, value }) => [name, value]));
    return new Response(status, named, body ?? new Uint8Array());
}

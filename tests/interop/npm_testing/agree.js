// Compares the kit's rules with vectors of the service's; prints what differs and how many it tried.
import { readFileSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";
import * as rules from "@ext-scheduler/testing/rules";

const LIMITS = rules.DEFAULT_LIMITS;
const differences = [];
let tried = 0;

function same(kind, vector, seen, expected) {
  tried += 1;
  if (!isDeepStrictEqual(seen, expected)) differences.push({ kind, vector, seen, expected });
}

function attempt(parse, text) {
  try {
    return { value: parse(text) };
  } catch (error) {
    return { error: error.message };
  }
}

const KINDS = {
  crons(vector) {
    const { value, error } = attempt((text) => rules.parseCron(text, 5, 128), vector.cron);
    const seen = error === undefined
      ? { cron: vector.cron, error: null, text: value.text, times: [...value.times] }
      : { cron: vector.cron, error };
    same("cron", vector.cron, seen, vector);
  },
  slots(vector) {
    const cron = rules.parseCron(vector.cron, 1, 128);
    const zone = rules.loadZone(vector.timezone);
    const next = [];
    for (let at = vector.after; next.length < 3; at = next.at(-1)) next.push(rules.nextSlot(cron, zone, at));
    same("next", vector, next, vector.next);
    same("between", vector, rules.slotsBetween(cron, zone, vector.after, vector.until), vector.between);
  },
  selectors(vector) {
    const endpoints = rules.readEndpoints(vector.endpoints);
    const selector = rules.parseSelector(vector.selector, 256);
    const chosen = selector && rules.chooseEndpoint(selector, endpoints, vector.payload);
    same("selector", vector.selector, chosen ? `${chosen.method} ${chosen.path}` : null, vector.chosen);
  },
  payloads(vector) {
    const { value, error } = attempt(rules.parseJson, vector.text);
    same("malformed", vector.text, error !== undefined, vector.malformed);
    if (vector.malformed || error !== undefined) return;
    same("payload", vector, rules.checkPayload(value, vector.maxLength, 64) ?? null, vector.error);
    if (vector.back === undefined) return;
    same("wire", vector.text, rules.writeJson(value, rules.wireFloat), vector.wire);
    same("packed", vector.text, rules.requestSize(value), vector.packed);
    same("back", vector.text, rules.writeJson(value), vector.back);
  },
  rates(vector) {
    const { accepted, now, limit } = vector;
    same("wait", vector, rules.checkRate(accepted, now, limit) ?? null, vector.wait);
    same("kept", vector, rules.appendWindow(accepted, now, limit), vector.kept);
  },
  capabilities(vector) {
    const seen = [...rules.effectiveCapabilities(vector.granted, vector.declared)].sort();
    same("capabilities", vector, seen, vector.effective);
  },
  scenarios({ start, endpoints, limits, steps }) {
    let now = start;
    const scheduler = new rules.InMemoryScheduler(
      rules.readEndpoints(endpoints),
      { ...LIMITS, ...limits },
      () => now,
    );
    const ids = [];
    for (const step of steps) {
      now = step.now;
      const id = step.id?.startsWith("$") ? ids[Number(step.id.slice(1))] : step.id;
      const result = {
        createSchedule: () => scheduler.create(step.input),
        updateSchedule: () => scheduler.update(id, step.input),
        deleteSchedule: () => scheduler.delete(id),
      }[step.function]();
      const { scheduleId, ...rest } = result;
      if (scheduleId !== undefined) ids.push(scheduleId);
      same("result", step, rest, step.result);
      same("listed", step, scheduler.list().map(({ id: _, ...schedule }) => schedule), step.listed);
      same("due", step, [...scheduler.schedules.values()].map(({ dueAt }) => dueAt ?? null), step.due);
    }
  },
};

for (const [kind, vectors] of Object.entries(JSON.parse(readFileSync(process.argv[2], "utf8")))) {
  for (const vector of vectors) KINDS[kind](vector);
}
console.log(JSON.stringify({ tried, differences: differences.slice(0, 5), count: differences.length }));

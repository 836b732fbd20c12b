// What the fake host does, seen from an author's tests.
import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeHost } from "@ext-scheduler/testing";

const directory = new URL("./probe/", import.meta.url);
const NIGHTLY = { endpoint: "/api/run", cron: "30 2 * * *", timezone: "Europe/Berlin", name: "nightly" };
const DAY_MS = 86_400_000;

const ask = async (host, path, body) => (await host.call("POST", path, body)).json();

test("fires follow the wall clock through a change", async () => {
  const host = new FakeHost({ directory });
  assert.equal((await ask(host, "/create", NIGHTLY)).value.success, true);
  const fires = host.firesBetween("2026-03-28T12:00:00Z", "2026-03-30T12:00:00Z");
  assert.deepEqual(fires.map(({ name, at }) => [name, at.toISOString()]), [
    ["nightly", "2026-03-29T01:00:00.000Z"],
    ["nightly", "2026-03-30T00:30:00.000Z"],
  ]);
});

test("moving the clock calls what is due and records it", async () => {
  const host = new FakeHost({ directory });
  await ask(host, "/create", NIGHTLY);
  assert.deepEqual(await host.advance(3_600_000), []);
  const runs = await host.advance(2 * DAY_MS);
  assert.deepEqual(runs.map((run) => run.fire.at.toISOString()), [
    "2026-01-01T01:30:00.000Z",
    "2026-01-02T01:30:00.000Z",
  ]);
  assert.equal(host.now.toISOString(), "2026-01-03T01:00:00.000Z");
  const [schedule] = host.schedules;
  assert.equal(schedule.lastRunStatus, "success");
  assert.equal(schedule.lastRunAt, "2026-01-02T01:30:00.000Z");
  await assert.rejects(host.advance(-1), RangeError);
});

test("a failed call is recorded", async () => {
  const host = new FakeHost({ directory });
  await ask(host, "/create", { ...NIGHTLY, payload: '{"status":503}' });
  const [run] = await host.advance(DAY_MS);
  assert.equal(run.response.status, 503);
  assert.equal(host.schedules[0].lastError, "The extension answered with status 503");
});

test("the called endpoint gets the headers of an occurrence", async () => {
  const host = new FakeHost({ directory });
  await ask(host, "/create", { ...NIGHTLY, name: "täglich!" });
  const run = await host.fire("täglich!");
  const headers = run.response.json().value;
  assert.equal(headers["x-alga-schedule-name"], "t%C3%A4glich%21");
  assert.equal(headers["x-alga-trigger"], "run_now");
  assert.equal(headers["x-alga-attempt"], "1");
  const again = (await host.repeat(run)).response.json().value;
  assert.equal(again["x-alga-attempt"], "2");
  assert.equal(again["x-idempotency-key"], headers["x-idempotency-key"]);
  await assert.rejects(host.fire("other"), RangeError);
});

test("the rate is that of the service and passes with the clock", async () => {
  const host = new FakeHost({ directory, limits: { changesPerMinute: 2 } });
  const input = { endpoint: "/api/run", cron: "0 * * * *" };
  const answers = [];
  for (let i = 0; i < 3; i += 1) answers.push((await ask(host, "/create", input)).value.error);
  assert.deepEqual(answers, [
    undefined,
    undefined,
    "Too many schedule changes (max 2 a minute; the next from 2026-01-01T00:01:00.000Z)",
  ]);
  await host.advance(60_000);
  assert.equal((await ask(host, "/create", input)).value.success, true);
});

test("the quota is that of the service", async () => {
  const host = new FakeHost({ directory, limits: { maxSchedules: 1 } });
  const input = { endpoint: "/api/run", cron: "0 * * * *" };
  await ask(host, "/create", input);
  const { error } = (await ask(host, "/create", input)).value;
  assert.equal(error, "Too many schedules (max 1 per extension install)");
});

test("field errors come together, in the service's words", async () => {
  const host = new FakeHost({ directory });
  const { value } = await ask(host, "/create", { endpoint: "/none", cron: "* * * * *", timezone: "europe/berlin" });
  assert.deepEqual(JSON.parse(value.fieldErrors), {
    endpoint: "Endpoint not found or not schedulable",
    cron: "Cron too frequent (minimum interval is 5 minutes)",
    timezone: "Invalid timezone",
  });
});

test("what is stored survives and what a module holds does not", async () => {
  const host = new FakeHost({ directory });
  assert.equal((await ask(host, "/calls")).value, 1);
  assert.equal((await ask(host, "/calls")).value, 1);
  assert.equal((await ask(host, "/store")).value, "1");
  assert.deepEqual((await ask(host, "/stored")).value, [1]);
  await ask(host, "/remove");
  assert.equal((await ask(host, "/stored")).code, "missing");
});

test("what is not granted is denied", async () => {
  const host = new FakeHost({ directory, granted: [] });
  assert.equal((await ask(host, "/list")).code, "denied");
  assert.equal((await ask(host, "/stored")).code, "denied");
  const { value } = await ask(host, "/create", NIGHTLY);
  assert.equal(value.error, "Capability cap:scheduler.manage is not granted");
  assert.equal((await ask(host, "/context")).value.tenantId, "test-tenant");
  await ask(host, "/warn");
  assert.deepEqual(host.logged, [["warn", "careful"]]);
});

test("a wrong type throws, as it would trap a component", async () => {
  const host = new FakeHost({ directory });
  const { message } = await ask(host, "/create", { ...NIGHTLY, cron: 5 });
  assert.equal(message, "cron: expected a string, got number");
});

test("ids that are none, and schedules that are not there", async () => {
  const host = new FakeHost({ directory });
  assert.equal((await ask(host, "/get", { id: "x" })).code, "validation-failed");
  assert.equal((await ask(host, "/get", { id: "5f0c2a6e-3b1d-4c57-9a43-6f1d2e8b7c90" })).value, null);
});

test("a request beyond what travels is refused as a Runner's client does", async () => {
  const host = new FakeHost({ directory });
  const payload = JSON.stringify(["☃".repeat(90_000)]); // few enough characters, and 270 KB
  assert.equal((await ask(host, "/create", { ...NIGHTLY, payload })).value.error, "Request is too large");
});

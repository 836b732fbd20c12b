// The extension's own tests, outside WebAssembly: npm test
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { beforeEach, test } from "node:test";

import { handler } from "../build/extension.js";
import { call, logged, reset, schedules } from "./fake_host.js";

const EXTENSION = new URL("../", import.meta.url);

beforeEach(reset);

test("setup creates the schedule once", () => {
  assert.deepEqual(call(handler, "POST", "/api/setup").body, { created: true });
  assert.deepEqual(call(handler, "POST", "/api/setup").body, { created: false });
  assert.deepEqual(schedules.map((schedule) => schedule.name), ["report"]);
});

test("the scheduled endpoint is one of the manifest", () => {
  call(handler, "POST", "/api/setup");
  const manifest = JSON.parse(readFileSync(new URL("manifest.json", EXTENSION), "utf8"));
  const declared = manifest.api.endpoints.map(({ method, path }) => `${method} ${path}`);
  assert.ok(declared.includes(schedules[0].endpoint));
});

test("report answers with its payload", () => {
  const answer = call(handler, "POST", "/api/report", '{"month":3}');
  assert.deepEqual(answer, { status: 200, body: { report: { month: 3 }, for: "now" } });
  assert.deepEqual(logged, ['report for now: {"month":3}']);
});

test("a body that is no JSON is refused", () => {
  assert.equal(call(handler, "POST", "/api/report", "{").status, 400);
});

test("an unknown endpoint is not found", () => {
  assert.equal(call(handler, "GET", "/api/other").status, 404);
});

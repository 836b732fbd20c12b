// The extension that `new --language typescript` writes, compiled, under the rules.
import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeHost } from "@ext-scheduler/testing";

test("the report schedules itself and is called on time", async () => {
  const directory = new URL("./report/", import.meta.url);
  const host = new FakeHost({ directory, module: "build/extension.js" });
  assert.deepEqual((await host.call("POST", "/api/setup")).json(), { created: true });
  assert.deepEqual((await host.call("POST", "/api/setup")).json(), { created: false });
  const [schedule] = host.schedules;
  assert.equal(schedule.name, "report");
  const runs = await host.advance(3_600_000);
  assert.equal(runs.length, 12);
  assert.ok(runs.every((run) => run.response.status === 200));
  assert.deepEqual(
    runs.map((run) => run.fire.at.getTime()),
    host.firesBetween("2026-01-01T00:00:01Z", "2026-01-01T01:00:01Z").map((fire) => fire.at.getTime()),
  );
});

// One install's walk through the operations; prints what it was told, as one JSON object.
import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { connected, Scheduler } from "./scheduler.js";

const { NATS_URL, NATS_USER, NATS_PASSWORD, KEY_FILE, INSTALL_ID, CONTENT_TYPE } = process.env;
const key = JSON.parse(await readFile(KEY_FILE)).keys[0];
const connection = await connected(NATS_URL, NATS_USER, NATS_PASSWORD);
const settings = { key, installId: INSTALL_ID, contentType: CONTENT_TYPE };
const scheduler = new Scheduler(connection, settings);
const wanted = {
  endpoint: "POST /api/heartbeat", cron: "*/15 * * * *", name: "from JavaScript",
  payload: { float: 1.5, text: "ü", list: [1, null, true] },
};
const refusal = (error) => ({ code: error.code, number: error.number, error: error.message });

const endpoints = await scheduler.ask("getEndpoints", {});
const jti = randomUUID();
const created = await scheduler.ask("create", wanted, jti);
const repeated = await scheduler.ask("create", wanted, jti);
const taken = await scheduler.ask("create", wanted);
const wrong = await scheduler.ask("create", { endpoint: "/none", cron: "* * * *" });
const listed = await scheduler.ask("list", {});
const reused = await scheduler.ask("delete", { scheduleId: created.scheduleId }, jti).catch(refusal);
const foreign = new Scheduler(connection, { ...settings, key: { ...key, ext_iss: "another" } });
const forged = await foreign.ask("list", {}).catch(refusal);
const deleted = await scheduler.ask("delete", { scheduleId: created.scheduleId });
const got = await scheduler.ask("get", { scheduleId: created.scheduleId });
await connection.drain();
console.log(JSON.stringify({
  endpoints, created, repeated, taken, wrong, listed, reused, forged, deleted, got,
}));

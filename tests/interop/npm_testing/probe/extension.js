// Does what the path says, and answers what the host said.
import { getContext } from "alga:extension/context";
import { logWarn } from "alga:extension/logging";
import { createSchedule, getSchedule, listSchedules, updateSchedule } from "alga:extension/scheduler";
import { delete as remove, get, put } from "alga:extension/storage";

let calls = 0;

const ACTIONS = {
  "/create": (body) => createSchedule(body),
  "/update": ({ id, ...input }) => updateSchedule(id, input),
  "/get": ({ id }) => getSchedule(id) ?? null,
  "/list": () => listSchedules(),
  "/api/run": (_, headers) => headers,
  "/calls": () => (calls += 1),
  "/context": () => getContext(),
  "/warn": () => logWarn("careful"),
  "/store": () => String(put({ namespace: "n", key: "k", value: new Uint8Array([1]) }).revision),
  "/stored": () => [...get("n", "k").value],
  "/remove": () => remove("n", "k"),
};

export function handler({ http }) {
  const body = http.body && JSON.parse(new TextDecoder().decode(http.body));
  const headers = Object.fromEntries(http.headers.map(({ name, value }) => [name, value]));
  let answer;
  try {
    answer = { value: ACTIONS[http.url](body, headers) };
  } catch (error) {
    answer = { code: error.payload, message: error.message };
  }
  const encoded = new TextEncoder().encode(JSON.stringify(answer));
  return { status: body?.status ?? 200, headers: [{ name: "x-made-by", value: "probe" }], body: encoded };
}

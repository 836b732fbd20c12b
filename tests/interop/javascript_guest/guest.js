// An extension as a JavaScript author writes one: the same world, another engine, all of WASI.
import { getContext } from "alga:extension/context";
import { logInfo } from "alga:extension/logging";
import { createSchedule, getEndpoints, getSchedule, listSchedules, updateSchedule }
  from "alga:extension/scheduler";
import { get, put } from "alga:extension/storage";

const text = new TextEncoder();
const bytes = new TextDecoder();

const routes = {
  "/context": () => getContext(),
  "/echo": ({ http }) => ({ ...http, body: http.body && bytes.decode(http.body) }),
  "/endpoints": () => getEndpoints(),
  "/schedules": () => listSchedules(),
  "/schedule": ({ http }) => getSchedule(bytes.decode(http.body)) ?? null,
  "/create": ({ http }) => createSchedule(JSON.parse(bytes.decode(http.body))),
  "/clear": ({ http }) => updateSchedule(bytes.decode(http.body), { payload: "null" }),
  "/remember": ({ http }) => {
    const entry = put({ namespace: "js", key: "k", value: http.body, revision: undefined });
    return { stored: bytes.decode(get("js", "k").value), revision: String(entry.revision) };
  },
  "/wasi": () => {
    console.log("from the console");
    return { year: new Date().getFullYear(), different: Math.random() !== Math.random() };
  },
  "/loop": () => { for (;;); },
  "/throw": () => { throw new Error("on purpose"); },
  "/hog": () => { const all = []; for (;;) all.push(new Uint8Array(2 ** 24).fill(1)); },
};

export function handler(request) {
  logInfo(`javascript: ${request.http.url}`);
  let status = 200;
  let value;
  try {
    value = routes[request.http.url.split("?")[0]](request);
  } catch (error) {
    if (error.payload === undefined) throw error;
    status = 502;
    value = { error: error.payload };
  }
  const headers = [{ name: "content-type", value: "application/json" }];
  return { status, headers, body: text.encode(JSON.stringify(value)) };
}

// A guest may also reach for what its engine offers beyond the world; it is cut off when it does.
routes["/fetch"] = () => { fetch("http://127.0.0.1:1/"); return "sent"; };
